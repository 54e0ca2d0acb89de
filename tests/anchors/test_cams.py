"""The same class activation maps from pytorch-grad-cam and torch-cam."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
import torchcam.methods
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import explain_tensor
from napari_attnseg.inference.sliding import strongest_class
from napari_attnseg.models import SegmentationModel, build_model

NORMS = ("instance", "batch", "group")
LAYERS = ("encoder1", "bottleneck", "decoder1")
GRADIENTS = {
    "grad-cam": GradCAM,
    "grad-cam++": GradCAMPlusPlus,
    "hires-cam": HiResCAM,
    "layer-cam": LayerCAM,
    "xgrad-cam": XGradCAM,
}


class Scaled(nn.Module):
    """A network whose logits are so large that nothing which is added to a divisor counts."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) * 1e4


class Case:
    """A network, an image, the class it finds most of, and where."""

    def __init__(self, norm: str, dims: int) -> None:
        torch.manual_seed(0)
        self.network: SegmentationModel = build_model(
            ModelConfig(
                backbone=f"unet{dims}d",
                dims=dims,
                preset="tiny",
                out_channels=3,
                attention="se",
                options={"norm": norm, "activation": "relu"},
            )
        ).eval()
        self.model = Scaled(self.network)
        self.x = torch.randn(1, 1, *((1, 32, 48) if dims == 2 else (12, 16, 20)))
        with torch.no_grad():
            found = strongest_class(self.network(self.x)[0])
        self.value = int(found.flatten().long().bincount().argmax())
        self.mask = found == self.value

    def ours(self, method: str, layer: str) -> Tensor:
        """Return the map of a layer, without the axis that slices of a flat network have."""
        model = Folded(self.model) if self.network.dims == 2 else self.model
        x = self.x[:, :, 0] if self.network.dims == 2 else self.x
        mask = self.mask[0] if self.network.dims == 2 else self.mask
        module = self.network.layer(layer)
        made = explain_tensor(model, x, mask, self.value, method, module, reduction="sum")
        return made[0, 0]


class Folded(nn.Module):
    """A flat network that takes pictures, ``(B, C, H, W)``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x[:, :, None])[:, :, 0]


class FoundError(Exception):
    """The raw map is there."""


def raw(kind: type, case: Case, layer: str, target: object) -> np.ndarray:
    """Return pytorch-grad-cam's map before it is scaled to 0 to 1 and enlarged."""
    kept: list[np.ndarray] = []

    class Raw(kind):  # type: ignore[misc]
        def get_cam_image(self, *args: object) -> np.ndarray:
            kept.append(super().get_cam_image(*args))
            raise FoundError

    cam = Raw(model=case.model, target_layers=[case.network.layer(layer)])
    with contextlib.suppress(FoundError), cam:
        cam(case.x, targets=[target])
    return kept[0][0]


def assert_same(ours: Tensor, theirs: np.ndarray) -> None:
    a, b = ours.detach().numpy().ravel(), np.asarray(theirs).ravel()
    assert np.abs(b).max() > 0
    assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()
    assert np.corrcoef(a, b)[0, 1] > 0.999999


CASES = pytest.mark.parametrize(
    ("norm", "dims"), [(norm, dims) for norm in NORMS for dims in (2, 3)]
)


@CASES
@pytest.mark.parametrize("method", sorted(GRADIENTS))
def test_pytorch_grad_cam_gives_the_same(method: str, norm: str, dims: int) -> None:
    case = Case(norm, dims)
    target = SemanticSegmentationTarget(case.value, case.mask.numpy())

    for layer in LAYERS:
        theirs = raw(GRADIENTS[method], case, layer, target)

        ours = case.ours(method, layer)

        assert_same(ours.reshape(theirs.shape), theirs)


@CASES
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("grad-cam", torchcam.methods.GradCAM),
        ("layer-cam", torchcam.methods.LayerCAM),
        ("xgrad-cam", torchcam.methods.XGradCAM),
    ],
)
def test_torch_cam_gives_the_same(method: str, kind: type, norm: str, dims: int) -> None:
    case = Case(norm, dims)

    for layer in LAYERS:
        names = {module: name for name, module in case.model.named_modules()}
        with kind(case.model, names[case.network.layer(layer)]) as cam:
            theirs = cam(
                scores=case.model(case.x),
                targets=lambda s: (s[case.value] * case.mask).sum(),
                normalized=False,
            )[0]

        ours, raised = case.ours(method, layer), theirs[0].detach().numpy().clip(0)

        if raised.any():
            assert_same(ours.clamp(min=0).reshape(raised.shape), raised)
        else:
            assert ours.max() <= 0


def probabilities(case: Case) -> nn.Module:
    """Return a network of probabilities, which the softmax over features hardly tells apart."""
    return nn.Sequential(case.network, nn.Softmax(dim=1))


@pytest.mark.parametrize("norm", NORMS)
def test_torch_cam_weighs_features_by_score_alike(norm: str) -> None:
    case = Case(norm, 3)
    model = probabilities(case)
    names = {module: name for name, module in model.named_modules()}

    for layer in LAYERS:
        module = case.network.layer(layer)
        with torchcam.methods.ScoreCAM(model, names[module]) as cam, torch.no_grad():
            scores = model(case.x)
            theirs = cam(
                scores=scores, targets=lambda s: s[case.value][case.mask].mean(), normalized=False
            )[0]

        ours = explain_tensor(model, case.x, case.mask, case.value, "score-cam", module)

        assert_same(ours[0, 0].clamp(min=0), theirs[0].numpy().clip(0))


@pytest.mark.parametrize("norm", NORMS)
def test_pytorch_grad_cam_weighs_features_by_score_alike(norm: str) -> None:
    case = Case(norm, 2)
    model, x, mask = Folded(probabilities(case)), case.x[:, :, 0], case.mask[0]
    layer = case.network.layer("encoder0")  # elsewhere it interpolates between the corners
    kept: list[np.ndarray] = []

    class Raw(ScoreCAM):  # type: ignore[misc]
        def get_cam_image(self, *args: object) -> np.ndarray:
            kept.append(super().get_cam_image(*args))
            return kept[-1]

    with Raw(model=model, target_layers=[layer]) as cam:
        cam(x, targets=[lambda output: output[case.value][mask].mean()])

    ours = explain_tensor(model, x, mask, case.value, "score-cam", layer)[0, 0]

    assert_same(ours, kept[0][0])
