"""The same maps from independent libraries, on the same network, layer and frozen mask."""

from __future__ import annotations

from typing import Any

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
    a, b = ours.double().numpy().ravel(), theirs.detach().double().numpy().ravel()
    assert np.abs(b).max() > 0
    assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()
    assert np.corrcoef(a, b)[0, 1] > 0.999999


class Case:
    """A network with its frozen mask, and the class that it finds most of."""

    def __init__(self, norm: str, dims: int, dtype: torch.dtype = torch.float32) -> None:
        model, x = build(norm, dims)
        self.model, self.x = model.to(dtype), x.to(dtype)
        self.scores = Scores(self.model, self.x)
        self.value = int(self.scores.masks.flatten(2).sum(dim=2).argmax())
        self.mask = self.scores.masks[0, self.value] > 0

    def ours(self, method: str, layer: str | None = None, **options: Any) -> Tensor:
        made = explain_tensor(
            self.model, self.x, self.mask, self.value, method, layer, options=options
        )
        return made[0, 0]

    def captured(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return activations and gradients of a layer, as captum takes them."""
        gradient = pytest.importorskip("captum._utils.gradient")
        gradients, activations = gradient.compute_layer_gradients_and_eval(
            self.scores, self.model.layer(layer), self.x, target_ind=self.value
        )
        return activations[0].detach(), gradients[0].detach()


CASES = pytest.mark.parametrize(
    ("norm", "dims"), [(norm, dims) for norm in NORMS for dims in (2, 3)]
)


@CASES
def test_captum_gives_the_same_maps_of_layers(norm: str, dims: int) -> None:
    captum = pytest.importorskip("captum.attr")
    case = Case(norm, dims)

    for layer in LAYERS:
        module = case.model.layer(layer)
        a, g = case.captured(layer)
        axes = tuple(range(2, a.ndim))
        grad = captum.LayerGradCam(case.scores, module).attribute(case.x, target=case.value)
        products = captum.LayerGradientXActivation(case.scores, module)
        hires = products.attribute(case.x, target=case.value).sum(dim=1, keepdim=True)
        alpha = (g * a).sum(dim=axes, keepdim=True) / a.sum(dim=axes, keepdim=True)
        expected = {
            "grad-cam": grad,
            "hires-cam": hires,
            "layer-cam": (g.relu() * a).sum(dim=1, keepdim=True),
            "xgrad-cam": (alpha * a).sum(dim=1, keepdim=True),
        }
        for method, theirs in expected.items():
            ours = case.ours(method, layer)
            assert_same(ours.reshape(theirs.shape[2:]), theirs[0, 0])


@CASES
def test_captum_gives_the_same_without_a_feature(norm: str, dims: int) -> None:
    captum = pytest.importorskip("captum.attr")
    # Captum adds up scores in the network's format; small differences of them are compared.
    case = Case(norm, dims, torch.float64)

    for layer in LAYERS:
        a, _ = case.captured(layer)
        shape = (1, a.shape[1], *[1] * (a.ndim - 2))
        ablation = captum.LayerFeatureAblation(case.scores, case.model.layer(layer))
        features = torch.arange(a.shape[1]).reshape(shape)
        with torch.no_grad():
            drops = ablation.attribute(
                case.x, layer_baselines=0, target=case.value, layer_mask=features
            )

        ours = case.ours("ablation-cam", layer)

        theirs = (drops * a).sum(dim=1)[0]
        assert_same(ours.reshape(theirs.shape), theirs)


@CASES
@pytest.mark.parametrize(("size", "step"), [(5, 5), (6, 4)])
def test_captum_gives_the_same_occlusion(norm: str, dims: int, size: int, step: int) -> None:
    captum = pytest.importorskip("captum.attr")
    case = Case(norm, dims)
    window = [1, *[min(size, n) for n in case.x.shape[2:]]]
    stride = [1, *[min(step, n) for n in window[1:]]]
    with torch.no_grad():
        theirs = captum.Occlusion(case.scores).attribute(
            case.x,
            target=case.value,
            sliding_window_shapes=tuple(window),
            strides=tuple(stride),
            baselines=0,
            perturbations_per_eval=4,
        )

    ours = case.ours("occlusion", size=size, step=step, baseline="zero")

    assert_same(ours, theirs[0, 0])


@CASES
def test_captum_gives_the_same_gradients_of_the_image(norm: str, dims: int) -> None:
    captum = pytest.importorskip("captum.attr")
    case = Case(norm, dims)
    plain = captum.Saliency(case.scores).attribute(case.x, target=case.value, abs=False)
    integrated = captum.IntegratedGradients(case.scores).attribute(
        case.x, baselines=0, target=case.value, n_steps=8, internal_batch_size=4
    )

    smooth = case.ours("smooth-grad", samples=1, noise=0.0)
    along = case.ours("integrated-gradients", steps=8, baseline="zero")

    assert_same(smooth, plain[0].sum(dim=0))
    assert_same(along, integrated[0].sum(dim=0))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@CASES
def test_monai_gives_the_same(norm: str, dims: int) -> None:
    visualize = pytest.importorskip("monai.visualize")
    case = Case(norm, dims)
    names = {module: name for name, module in case.scores.named_modules()}

    for layer in LAYERS:
        name = names[case.model.layer(layer)]
        theirs = visualize.GradCAM(nn_module=case.scores, target_layers=name)
        expected = theirs.compute_map(case.x, class_idx=case.value)

        ours = case.ours("grad-cam", layer)

        if expected.any():
            assert_same(ours.clamp(min=0).reshape(expected.shape[2:]), expected[0, 0])
        else:
            assert ours.max() <= 0
