"""Attention modules against plain loops over their equations, and against MONAI."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.models.attention import ATTENTION

SIZES = {2: (5, 7), 3: (3, 4, 6)}


def made(name: str, channels: int, dims: int, **options: Any) -> Any:
    """Return a module in double precision whose every weight is drawn, norms included."""
    torch.manual_seed(dims)
    build: Any = ATTENTION[name]
    module = build(channels, dims=dims, **options).double().eval()
    for value in itertools.chain(module.parameters(), module.buffers()):
        if value.is_floating_point():
            nn.init.uniform_(value, 0.2, 0.9)
    for weight in module.parameters():
        weight.data.sub_(0.5)
    return module


def volume(channels: int, dims: int, size: tuple[int, ...] | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (2, channels, *(size or SIZES[dims]))
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def rows(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return a linear layer or a convolution of size 1 on one vector, term by term."""
    weight = array(layer.weight).reshape(layer.weight.shape[0], -1)
    out = np.zeros(weight.shape[0]) if layer.bias is None else array(layer.bias).copy()
    for i, j in itertools.product(range(weight.shape[0]), range(weight.shape[1])):
        out[i] += weight[i, j] * x[j]
    return out


def batch_norm(layer: Any, x: float, channel: int) -> float:
    mean, variance = array(layer.running_mean)[channel], array(layer.running_var)[channel]
    weight, bias = array(layer.weight)[channel], array(layer.bias)[channel]
    return (x - mean) / np.sqrt(variance + layer.eps) * weight + bias


def close(actual: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(array(actual), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("pooling", ["avg", "max", "both"])
@pytest.mark.parametrize("bias", [False, True])
def test_se_is_its_equation(dims: int, pooling: str, bias: bool) -> None:
    module = made("se", 8, dims, reduction=4, pooling=pooling, bias=bias)
    x = volume(8, dims)
    expected = array(x).copy()
    for image in expected:
        pools = {"avg": [one.mean() for one in image], "max": [one.max() for one in image]}
        used = ["avg", "max"] if pooling == "both" else [pooling]
        energy = np.zeros(8)
        for name in used:
            hidden = np.maximum(rows(module.squeeze, np.array(pools[name])), 0)
            energy += rows(module.excite, hidden)
        for channel in range(8):
            image[channel] *= sigmoid(energy[channel])

    close(module(x), expected)


def test_se_on_two_channels_is_what_a_hand_finds() -> None:
    module: Any = ATTENTION["se"](2, dims=2)  # type: ignore[call-arg]
    module.squeeze.weight.data = torch.tensor([[1.0, 2.0]])
    module.excite.weight.data = torch.tensor([[1.0], [-1.0]])
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, -1.0]]]])  # means 2 and -0.5, hidden 1

    y = module(x)

    expected = torch.tensor([[[[0.731059, 2.193176]], [[0.0, -0.268941]]]])
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_cbam_is_its_equations(dims: int) -> None:
    module = made("cbam", 4, dims, reduction=2, kernel=3)
    x = volume(4, dims)
    expected = array(x).copy()
    kernel = array(module.conv.weight)[0]
    for image in expected:
        energy = np.zeros(4)
        for pooled in ([one.mean() for one in image], [one.max() for one in image]):
            hidden = np.maximum(rows(module.squeeze, np.array(pooled)), 0)
            energy += rows(module.excite, hidden)
        image *= sigmoid(energy).reshape(-1, *[1] * dims)
        maps = np.stack([image.max(axis=0), image.mean(axis=0)])
        padded = np.pad(maps, [(0, 0)] + [(1, 1)] * dims)
        for voxel in np.ndindex(*image.shape[1:]):
            around = tuple(slice(start, start + 3) for start in voxel)
            total = sum((padded[c][around] * kernel[c]).sum() for c in range(2))
            image[(slice(None), *voxel)] *= sigmoid(batch_norm(module.norm, total, 0))

    close(module(x), expected)


def test_cbam_without_spatial_weights_halves_what_passes() -> None:
    module = made("cbam", 4, 3)
    x = volume(4, 3)
    channels_only = made("cbam", 4, 3, has_spatial=False)
    channels_only.load_state_dict(
        {k: v for k, v in module.state_dict().items() if not k.startswith(("conv", "norm"))}
    )

    nn.init.zeros_(module.conv.weight)
    nn.init.zeros_(module.norm.bias)
    nn.init.zeros_(module.norm.running_mean)

    torch.testing.assert_close(module(x), channels_only(x) / 2)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("variant", [{}, {"average": True, "act": "prelu"}])
def test_project_and_excite_is_its_equation(dims: int, variant: dict[str, Any]) -> None:
    module = made("pe", 4, dims, **variant)
    x = volume(4, dims)
    expected = array(x).copy()
    for image, source in zip(expected, array(x), strict=True):
        for voxel in np.ndindex(*image.shape[1:]):
            z = np.zeros(4)
            for axis, position in enumerate(voxel):
                z += source.take(position, axis=axis + 1).reshape(4, -1).mean(axis=1)
            z /= dims if variant else 1
            hidden = rows(module.squeeze, z)
            slope = array(module.act.weight) if variant else 0
            hidden = np.where(hidden > 0, hidden, slope * hidden)
            image[(slice(None), *voxel)] *= sigmoid(rows(module.excite, hidden))

    close(module(x), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_gate_is_its_equation(dims: int) -> None:
    module = made("gate", 4, dims, context_channels=6)
    size = tuple(2 * n for n in SIZES[dims])
    x, g = volume(4, dims, size=size), volume(6, dims)  # theta(x) has the size of g
    expected = np.zeros(x.shape)
    theta = array(module.theta.weight)
    for image, context, out in zip(array(x), array(g), expected, strict=True):
        coarse = np.zeros(SIZES[dims])
        for voxel in np.ndindex(*coarse.shape):
            block = tuple(slice(2 * start, 2 * start + 2) for start in voxel)
            skip = [sum((image[c][block] * one[c]).sum() for c in range(4)) for one in theta]
            energy = np.array(skip) + rows(module.phi, context[(slice(None), *voxel)])
            coarse[voxel] = sigmoid(rows(module.psi, np.maximum(energy, 0))[0])
        gate = doubled(coarse)
        for voxel in np.ndindex(*size):
            passed = rows(module.out, image[(slice(None), *voxel)] * gate[voxel])
            out[(slice(None), *voxel)] = [
                batch_norm(module.norm, value, c) for c, value in enumerate(passed)
            ]

    close(module(x, g), expected)


def doubled(coarse: np.ndarray) -> np.ndarray:
    """Return a map of twice the size on the same box, linearly, axis by axis."""
    for axis in range(coarse.ndim):
        size = coarse.shape[axis]
        at = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, size - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, size - 1)
        share = (at - low).reshape([-1 if one == axis else 1 for one in range(coarse.ndim)])
        coarse = coarse.take(low, axis) * (1 - share) + coarse.take(high, axis) * share
    return coarse


@pytest.mark.parametrize("context_size", [(1, 1, 1), (2, 3, 4), (9, 7, 5)])
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 3, 7), (4, 1, 2)])
def test_the_gate_takes_a_context_of_any_size(
    size: tuple[int, ...], context_size: tuple[int, ...]
) -> None:
    module = made("gate", 4, 3, context_channels=2)

    y = module(volume(4, 3, size=size), volume(2, 3, size=context_size))

    assert y.shape == (2, 4, *size)


@pytest.mark.parametrize("dims", [2, 3])
def test_se_equals_that_of_monai(dims: int) -> None:
    blocks = pytest.importorskip("monai.networks.blocks")
    theirs = blocks.ChannelSELayer(dims, 8, r=4).double()
    ours = made("se", 8, dims, reduction=4, bias=True)
    ours.squeeze.load_state_dict(theirs.fc[0].state_dict())
    ours.excite.load_state_dict(theirs.fc[2].state_dict())
    x = volume(8, dims)

    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_gate_equals_that_of_monai(dims: int) -> None:
    nets = pytest.importorskip("monai.networks.nets.attentionunet")
    theirs = nets.AttentionBlock(dims, f_int=3, f_g=4, f_l=4).double().eval()
    ours = made("gate", 4, dims, subsample=1, inner_channels=3, norm="none")
    for mine, (other, norm) in (
        (ours.phi, theirs.W_g), (ours.theta, theirs.W_x), (ours.psi, theirs.psi[:2]),
    ):  # fmt: skip
        # theirs normalises and has a bias more, which adds to ours
        scale = norm.running_var.new_tensor(1 + norm.eps).rsqrt()
        mine.weight.data = other.conv.weight.data * scale
        if mine.bias is not None:
            mine.bias.data = other.conv.bias.data * scale
    scale = (1 + theirs.W_x[1].eps) ** -0.5
    ours.phi.bias.data += theirs.W_x[0].conv.bias.data * scale
    nn.init.zeros_(ours.out.bias)
    ours.out.weight.data = torch.eye(4, dtype=torch.float64).reshape(ours.out.weight.shape)
    x, g = volume(4, dims), volume(4, dims).flip(2)

    torch.testing.assert_close(ours(x, g), theirs(g, x))


@pytest.mark.parametrize("name", ["se", "pe", "cbam"])
def test_one_slice_in_3d_is_the_same_as_in_2d(name: str) -> None:
    options = {"kernel": 1} if name == "cbam" else {}
    flat, solid = made(name, 8, 2, **options), made(name, 8, 3, **options)
    values = flat.state_dict()
    shapes = {key: one.shape for key, one in solid.state_dict().items()}
    solid.load_state_dict({key: values[key].reshape(shape) for key, shape in shapes.items()})
    x = volume(8, 2)
    if name == "pe":  # the profile along D adds the mean of the slice in every voxel
        mean = x.mean(dim=(2, 3), keepdim=True)
        gate = flat.gate(flat.excite(flat.act(flat.squeeze(
            mean + x.mean(dim=2, keepdim=True) + x.mean(dim=3, keepdim=True)
        ))))  # fmt: skip
        expected = x * gate
    else:
        expected = flat(x)

    torch.testing.assert_close(solid(x[:, :, None])[:, :, 0], expected)


@pytest.mark.parametrize("name", sorted(set(ATTENTION)))
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_a_module_keeps_the_shape_of_any_number_of_channels(name: str, channels: int) -> None:
    x = torch.rand(2, channels, 4, 6, 10)
    build: Any = ATTENTION[name]

    assert build(channels)(x, x).shape == x.shape
