"""scSE, ECA, coordinate and split attention against plain loops over their equations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.models.attention import ATTENTION

SIZES = {2: (5, 7), 3: (3, 4, 6)}


def made(name: str, channels: int, dims: int, **options: Any) -> Any:
    torch.manual_seed(dims)
    build: Any = ATTENTION[name]
    module = build(channels, dims=dims, **options).double().eval()
    for value in itertools.chain(module.parameters(), module.buffers()):
        if value.is_floating_point():
            nn.init.uniform_(value, 0.2, 0.9)
    for weight in module.parameters():
        weight.data.sub_(0.5)
    return module


def volume(channels: int, dims: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, channels, *SIZES[dims], dtype=torch.float64, generator=generator)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def rows(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return a linear layer or a convolution of size 1 on one vector."""
    weight = layer.weight.detach().numpy()
    return weight.reshape(weight.shape[0], -1) @ x + layer.bias.detach().numpy()


def batch_norm(layer: Any, x: np.ndarray) -> np.ndarray:
    mean, variance = layer.running_mean.numpy(), layer.running_var.numpy()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return (x - mean) / np.sqrt(variance + layer.eps) * weight + bias


def close(actual: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("aggregation", ["add", "max"])
def test_concurrent_squeeze_and_excitation_is_its_equation(dims: int, aggregation: str) -> None:
    module = made("scse", 4, dims, aggregation=aggregation)
    x = volume(4, dims)
    expected = np.zeros(x.shape)
    for image, out in zip(x.numpy(), expected, strict=True):
        means = np.array([one.mean() for one in image])
        hidden = np.maximum(rows(module.channels.squeeze, means), 0)
        channel = sigmoid(rows(module.channels.excite, hidden))
        for voxel in np.ndindex(*image.shape[1:]):
            values = image[(slice(None), *voxel)]
            by_channel = values * channel
            by_voxel = values * sigmoid(rows(module.conv, values)[0])
            total = by_channel + by_voxel
            largest = np.maximum(by_channel, by_voxel)
            out[(slice(None), *voxel)] = total if aggregation == "add" else largest

    close(module(x), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_channel_half_of_scse_equals_that_of_monai(dims: int) -> None:
    blocks = pytest.importorskip("monai.networks.blocks")
    theirs = blocks.ChannelSELayer(dims, 8, r=2).double()
    ours = made("scse", 8, dims)
    ours.channels.squeeze.load_state_dict(theirs.fc[0].state_dict())
    ours.channels.excite.load_state_dict(theirs.fc[2].state_dict())
    nn.init.zeros_(ours.conv.weight)
    nn.init.constant_(ours.conv.bias, -1e3)  # the spatial half lets nothing through
    x = volume(8, dims)

    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("dims", [2, 3])
def test_efficient_channel_attention_is_its_equation(dims: int) -> None:
    module = made("eca", 16, dims)
    x = volume(16, dims)
    kernel = module.conv.weight.detach().numpy()[0, 0]
    expected = x.numpy().copy()
    for image in expected:
        means = np.pad([one.mean() for one in image], 1)
        for c in range(16):
            image[c] *= sigmoid(sum(kernel[j] * means[c + j] for j in range(3)))

    close(module(x), expected)


@pytest.mark.parametrize(("channels", "kernel"), [(1, 1), (8, 3), (64, 3), (128, 5), (512, 5)])
def test_the_kernel_of_eca_grows_with_the_channels(channels: int, kernel: int) -> None:
    build: Any = ATTENTION["eca"]

    assert build(channels).conv.weight.shape == (1, 1, kernel)


@pytest.mark.parametrize("dims", [2, 3])
def test_coordinate_attention_is_its_equation(dims: int) -> None:
    module = made("coord", 4, dims)
    x = volume(4, dims)
    expected = x.numpy().copy()
    for image, out in zip(x.numpy(), expected, strict=True):
        for axis in range(dims):
            for position in range(image.shape[axis + 1]):
                mean = image.take(position, axis=axis + 1).reshape(4, -1).mean(axis=1)
                z = batch_norm(module.norm, rows(module.squeeze, mean))
                z = z * np.clip(z + 3, 0, 6) / 6
                place = tuple(position if one == axis else slice(None) for one in range(dims))
                weights = sigmoid(rows(module.excite[axis], z))
                out[(slice(None), *place)] *= weights.reshape(-1, *[1] * (dims - 1))

    close(module(x), expected)


@torch.no_grad()
def split_by_hand(module: Any, x: Tensor, radix: int, groups: int) -> Tensor:
    out = torch.zeros_like(x)
    channels = x.shape[1]
    features = module.act(module.norm(module.conv(x)))
    for index, u in enumerate(features):
        parts = [u[r * channels : (r + 1) * channels] for r in range(radix)]
        z = torch.stack([sum(part[c] for part in parts).mean() for c in range(channels)])
        hidden = F.relu(torch.from_numpy(grouped(module.squeeze, z, groups, module.squeeze_norm)))
        energy = grouped(module.excite, hidden, groups)
        each = channels // groups
        for c in range(channels):
            group, place = divmod(c, each)
            own = [energy[group * radix * each + r * each + place] for r in range(radix)]
            shares = np.exp(own) / np.exp(own).sum() if radix > 1 else sigmoid(np.array(own))
            out[index, c] = sum(float(shares[r]) * parts[r][c] for r in range(radix))
    return out


def grouped(layer: Any, x: Tensor, groups: int, norm: Any = None) -> np.ndarray:
    weight, bias = layer.weight.detach().flatten(1).numpy(), layer.bias.detach().numpy()
    values, out = x.detach().numpy(), np.zeros(len(weight))
    outs, ins = len(weight) // groups, len(values) // groups
    for row in range(len(weight)):
        group = row // outs
        out[row] = weight[row] @ values[group * ins : (group + 1) * ins] + bias[row]
    return out if norm is None else batch_norm(norm, out)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("radix", "groups"), [(2, 1), (1, 1), (3, 2)])
def test_split_attention_is_its_equation(dims: int, radix: int, groups: int) -> None:
    module = made("split", 4, dims, radix=radix, cardinality=groups, min_channels=4)
    x = volume(4, dims)

    close(module(x), split_by_hand(module, x, radix, groups).numpy())


def test_shares_of_split_attention_add_up_to_one() -> None:
    module = made("split", 8, 3, radix=3)
    shares: list[Tensor] = []
    module.map.register_forward_hook(lambda *args: shares.append(args[-1]))

    module(volume(8, 3))

    assert shares[0].shape == (2, 3, 8)
    torch.testing.assert_close(shares[0].sum(dim=1), torch.ones(2, 8, dtype=torch.float64))


@pytest.mark.parametrize("name", ["scse", "eca", "split", "coord"])
def test_one_slice_in_3d_is_the_same_as_in_2d(name: str) -> None:
    flat, solid = made(name, 8, 2), made(name, 8, 3)
    values = flat.state_dict()
    if name == "coord":  # along D there is one place, which here passes all
        values = {k.replace("e.1.", "e.2.").replace("e.0.", "e.1."): v for k, v in values.items()}
        values["excite.0.weight"] = torch.zeros_like(values["excite.1.weight"])
        values["excite.0.bias"] = torch.full_like(values["excite.1.bias"], 50)
    with torch.no_grad():
        for key, own in solid.state_dict().items():
            if own.ndim == 5 and own.shape[2] == 3:
                own.zero_()[:, :, 1] = values[key]
            else:
                own.copy_(values[key].reshape(own.shape))
    x = volume(8, 2)

    torch.testing.assert_close(solid(x[:, :, None])[:, :, 0], flat(x))


def test_several_gates_are_joined() -> None:
    module = made("gate", 4, 3, context_channels=6, gates=2)
    x, g = volume(4, 3), volume(6, 3)

    first, second = module._pass(x, g), module.others[0](x, g)

    expected = module.combination(torch.cat([first, second], dim=1))
    torch.testing.assert_close(module(x, g), expected)
    assert (first - second).abs().max() > 1e-3
    assert [one.name for one in (module.map, module.others[0].map)] == ["spatial", "spatial2"]
