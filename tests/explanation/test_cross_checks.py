"""The same maps from independent libraries, on the same network, layer and frozen mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import explain_tensor
from napari_attnseg.inference.sliding import strongest_class
from napari_attnseg.models import SegmentationModel, build_model

NORMS = ("instance", "batch", "group")
LAYERS = ("encoder1", "bottleneck", "decoder1")


class Scores(nn.Module):
    """Mean logit of each class over its frozen mask, which libraries for classifiers explain."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            logits = model(x)
        masks = torch.stack([strongest_class(logits[0]) == k for k in range(logits.shape[1])])
        self.masks = masks.float()[None]

    def forward(self, x: Tensor) -> Tensor:
        kept = (self.model(x) * self.masks).flatten(2).sum(dim=2)
        return kept / self.masks.flatten(2).sum(dim=2).clamp(min=1)


def build(norm: str, dims: int) -> tuple[SegmentationModel, Tensor]:
    torch.manual_seed(0)
    model = build_model(
        ModelConfig(
            backbone=f"unet{dims}d",
            dims=dims,
            preset="tiny",
            out_channels=3,
            attention="se",
            options={"norm": norm},
        )
    ).eval()
    size = (1, 32, 48) if dims == 2 else (12, 16, 20)
    return model, torch.randn(1, 1, *size)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    a, b = ours.numpy().ravel(), theirs.detach().numpy().ravel()
    assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()
    assert np.corrcoef(a, b)[0, 1] > 0.999999


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_captum_gives_the_same(norm: str, dims: int) -> None:
    captum = pytest.importorskip("captum.attr")
    model, x = build(norm, dims)
    scores = Scores(model, x)
    value = int(scores.masks.flatten(2).sum(dim=2).argmax())
    mask = scores.masks[0, value] > 0

    for layer in LAYERS:
        module = model.layer(layer)
        grad = captum.LayerGradCam(scores, module).attribute(x, target=value)
        products = captum.LayerGradientXActivation(scores, module).attribute(x, target=value)

        ours = explain_tensor(model, x, mask, value, "grad-cam", layer)
        hires = explain_tensor(model, x, mask, value, "hires-cam", layer)

        assert_same(ours[:, 0].reshape(grad.shape[2:]), grad[0, 0])
        assert_same(hires.reshape(products.shape[2:]), products.sum(dim=1)[0])


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("norm", NORMS)
def test_monai_gives_the_same(norm: str) -> None:
    visualize = pytest.importorskip("monai.visualize")
    model, x = build(norm, 3)
    scores = Scores(model, x)
    value = int(scores.masks.flatten(2).sum(dim=2).argmax())
    mask = scores.masks[0, value] > 0
    names = {module: name for name, module in scores.named_modules()}

    theirs = visualize.GradCAM(nn_module=scores, target_layers=names[model.layer("encoder1")])

    ours = explain_tensor(model, x, mask, value, "grad-cam", "encoder1")
    assert_same(ours.clamp(min=0), theirs.compute_map(x, class_idx=value))
