"""Values worked out by hand, and theorems that hold for any network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import METHODS, explain_tensor
from napari_attnseg.explanation.capture import activations_and_gradients
from napari_attnseg.explanation.catalogue import make_method
from napari_attnseg.models import SegmentationModel, build_model

CPU = torch.device("cpu")


class OneConvolution(nn.Module):
    """Captum's fixture, whose score for class 0 is 54."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 2, (1, 3, 3))
        self.relu1 = nn.ReLU()
        self.fc1 = nn.Linear(8, 4)
        self.relu2 = nn.ReLU()
        with torch.no_grad():
            self.conv1.weight.fill_(1)
            self.conv1.bias.copy_(torch.tensor([-50.0, -75.0]))
            self.fc1.weight.copy_(torch.tensor([1.0] * 5 + [-1.0] * 3).expand(4, 8))
            self.fc1.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(self.fc1(self.relu1(self.conv1(x)).flatten(1)))


class AtAVoxel(nn.Module):
    """A classifier whose scores stand at every voxel of its input."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(x)[:, :, None, None, None].expand(-1, -1, *x.shape[2:])


def raw_map(
    classifier: nn.Module, layer: nn.Module, x: Tensor, method: str, index: int = 0
) -> Tensor:
    mask = torch.zeros(x.shape[2:], dtype=torch.bool)
    mask[0, 0, 0] = True
    return explain_tensor(AtAVoxel(classifier), x, mask, index, method, layer)[0, 0]


@pytest.mark.parametrize(
    ("method", "layer", "expected"),
    [
        ("grad-cam", "conv1", [[11.25, 13.5], [20.25, 22.5]]),
        ("grad-cam", "relu1", [[0, 4], [28, 32.5]]),
        ("layer-cam", "relu1", [[0, 4], [31, 40]]),
        ("xgrad-cam", "relu1", [[0, 4], [25, 25]]),
        ("xgrad-cam", "conv1", [[-26.357, -10.414], [37.414, 53.357]]),
        ("hires-cam", "conv1", [[0, 4], [25, 25]]),
        ("hires-cam", "relu1", [[0, 4], [25, 25]]),
    ],
)
def test_the_fixture_of_captum(method: str, layer: str, expected: list[list[float]]) -> None:
    model = OneConvolution()
    x = torch.arange(16.0).reshape(1, 1, 1, 4, 4)

    result = raw_map(model, model.get_submodule(layer), x, method)[0]

    assert model(x)[0, 0] == 54
    assert np.allclose(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_before_a_linear_head_the_map_is_the_logit_without_its_bias(dims: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        backbone=f"unet{dims}d", dims=dims, preset="tiny", out_channels=3, attention="none"
    )
    model = build_model(config).eval()
    head = [one for one in model.modules() if isinstance(one, (nn.Conv2d, nn.Conv3d))][-1]
    x = torch.randn(1, 1, 8, 16, 32)
    with torch.no_grad():
        logit = model(x)[0, 1]
    mask = logit > logit.mean()

    result = explain_tensor(
        model, x, mask, class_index=1, method="hires-cam", layer="decoder0", reduction="sum"
    )

    expected = (logit - head.bias[1]).detach() * mask
    assert (result[0, 0] - expected).abs().max() < 1e-6 * expected.abs().max()
    assert result.sum() == pytest.approx(float(expected.sum()), rel=1e-5)


class Normalised(nn.Module):
    """A convolution that an instance normalisation follows at once."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 6, 3, padding=1)
        self.norm = norm
        self.head = nn.Sequential(nn.LeakyReLU(), nn.Conv3d(6, 2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)))


def test_gradients_cancel_before_an_instance_normalisation() -> None:
    torch.manual_seed(0)
    model = Normalised(nn.InstanceNorm3d(6))
    x = torch.randn(1, 1, 16, 18, 20)
    mask = torch.rand(16, 18, 20) > 0.7

    activations, gradients = activations_and_gradients(
        lambda: model(x), model.conv, lambda z: (z[0, 1] * mask).sum(), device=CPU
    )

    alpha = gradients.mean(dim=(2, 3, 4)).abs().mean()
    assert alpha / gradients.abs().mean() < 1e-6
    hires = activations * gradients
    assert hires.sum().abs() / hires.abs().sum() < 1e-5


class Pooled(nn.Module):
    """A layer, its mean, and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.linear = nn.Conv3d(1, 5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.layer(x).mean(dim=(2, 3, 4)))


def test_after_global_pooling_both_methods_are_the_class_activation_map() -> None:
    torch.manual_seed(0)
    model, x = Pooled().eval(), torch.randn(1, 1, 6, 7, 8)

    hires, grad = (raw_map(model, model.layer, x, name, 2) for name in ("hires-cam", "grad-cam"))

    activations = model.layer(x)[0].detach()
    cam = torch.einsum("k,kdhw->dhw", model.linear.weight[2], activations).detach()
    assert torch.allclose(hires, grad, rtol=1e-5, atol=1e-8)
    assert torch.allclose(cam, cam.numel() * hires, rtol=1e-5, atol=1e-6)


@pytest.fixture
def network(suited: Any) -> SegmentationModel:
    return suited(out_channels=4)


def layer_for(method: str, name: str = "encoder1") -> str:
    return "bottleneck" if method == "cam" else name


NOT_SCALED = {
    "cam": "does not look at the logits",
    "grad-cam++": "its weights are no linear function of the gradient",
    "score-cam": "its softmax has no scale",
}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_batch_gives_what_its_samples_give(
    network: SegmentationModel, cheap: Any, method: str
) -> None:
    x, layer = torch.randn(2, 1, 8, 12, 16), layer_for(method)
    masks = torch.rand(2, 8, 12, 16) > 0.6

    both = explain_tensor(network, x, masks, [1, 3], method, layer, options=cheap(method))

    for sample, index in enumerate((1, 3)):
        one = x[sample : sample + 1]
        alone = explain_tensor(
            network, one, masks[sample], index, method, layer, options=cheap(method)
        )
        assert torch.allclose(both[sample], alone[0], rtol=1e-4, atol=1e-8)


class Changed(nn.Module):
    """A network whose logits are scaled, moved and put in another order."""

    def __init__(
        self,
        network: nn.Module,
        factor: float = 1.0,
        shift: float = 0.0,
        order: Any = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.network, self.factor, self.shift, self.order = network, factor, shift, list(order)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[:, self.order] * self.factor + self.shift


def module_for(network: SegmentationModel, method: str) -> nn.Module | None:
    how = make_method(method)
    if how.is_input:
        return None
    return how.module_for(network, layer_for(method, "bottleneck"))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_constant_on_the_logits_changes_nothing(
    network: SegmentationModel, cheap: Any, method: str
) -> None:
    x, mask = torch.randn(1, 1, 8, 12, 16), torch.rand(8, 12, 16) > 0.5
    layer = module_for(network, method)

    plain = explain_tensor(network, x, mask, 1, method, layer, options=cheap(method))
    shifted = explain_tensor(
        Changed(network, shift=5.0), x, mask, 1, method, layer, options=cheap(method)
    )
    scaled = explain_tensor(
        Changed(network, factor=3.0), x, mask, 1, method, layer, options=cheap(method)
    )

    largest = float(plain.abs().max())
    assert torch.allclose(plain, shifted, rtol=1e-3, atol=1e-4 * largest)
    if method not in NOT_SCALED:
        assert torch.allclose(3 * plain, scaled, rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"cam"}))
def test_exchanging_classes_exchanges_their_maps(
    network: SegmentationModel, cheap: Any, method: str
) -> None:
    x, mask = torch.randn(1, 1, 8, 12, 16), torch.rand(8, 12, 16) > 0.5
    layer, options = module_for(network, method), cheap(method)
    exchanged = Changed(network, order=(0, 2, 1, 3))

    assert torch.equal(
        explain_tensor(network, x, mask, 1, method, layer, options=options),
        explain_tensor(exchanged, x, mask, 2, method, layer, options=options),
    )


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"smooth-grad"}))
def test_a_mirrored_input_gives_a_mirrored_map(suited: Any, cheap: Any, method: str) -> None:
    model = suited()
    for parameter in model.parameters():
        if parameter.ndim == 5:
            parameter.data = (parameter.data + parameter.data.flip(4)) / 2
    x, mask = torch.randn(1, 1, 8, 12, 16), torch.rand(8, 12, 16) > 0.5
    options = {**cheap(method), **({"size": 4} if method == "occlusion" else {})}

    plain = explain_tensor(model, x, mask, 1, method, "bottleneck", options=options)
    mirrored = explain_tensor(
        model, x.flip(4), mask.flip(2), 1, method, "bottleneck", options=options
    )

    largest = float(plain.abs().max())
    assert torch.allclose(plain.flip(4), mirrored, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("dims", [2, 3])
def test_pooling_goes_from_one_method_to_the_other(suited: Any, dims: int) -> None:
    model = suited(dims)
    size = (3, 24, 40) if dims == 2 else (8, 12, 20)
    x, mask = torch.randn(1, 1, *size), torch.rand(size) > 0.5

    def made(method: str, **options: Any) -> Tensor:
        return explain_tensor(model, x, mask, 1, method, "encoder1", options=options)

    assert torch.allclose(made("seg-xres-cam", window=1), made("hires-cam"), atol=1e-8)
    assert torch.allclose(made("seg-xres-cam", window=999), made("grad-cam"), atol=1e-7)


def test_evidence_against_a_class_is_kept(network: SegmentationModel) -> None:
    x, mask = torch.randn(1, 1, 8, 12, 16), torch.rand(8, 12, 16) > 0.5

    speaks = explain_tensor(network, x, mask, 1, "hires-cam", "bottleneck")
    against = explain_tensor(
        Changed(network, factor=-1.0), x, mask, 1, "hires-cam", network.layer("bottleneck")
    )

    assert speaks.min() < 0 < speaks.max()
    assert torch.equal(speaks, -against)
