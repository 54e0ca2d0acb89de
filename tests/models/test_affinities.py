"""Dual attention and the non-local block against plain loops over all pairs of voxels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import build_model, record
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.positions import attend, pool_tokens

SIZES = {2: (3, 4), 3: (2, 3, 4)}
SOLID = ["dual", "dual-position", "dual-channel", "nonlocal"]


def made(name: str, channels: int, dims: int, **options: Any) -> Any:
    torch.manual_seed(dims)
    build: Any = ATTENTION[name]
    module = build(channels, dims=dims, **options).double().eval()
    for value in itertools.chain(module.parameters(), module.buffers()):
        if value.is_floating_point():
            nn.init.uniform_(value, 0.2, 0.9)
    return module


def volume(channels: int, dims: int, size: tuple[int, ...] | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (2, channels, *(size or SIZES[dims]))
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def mixed(layer: Any, image: np.ndarray) -> np.ndarray:
    """Return a convolution of size 1 of ``(C, N)``."""
    weight = layer.weight.detach().numpy()
    return weight.reshape(weight.shape[0], -1) @ image + layer.bias.detach().numpy()[:, None]


def softmax(energies: np.ndarray) -> np.ndarray:
    shares = np.exp(energies - energies.max())
    return shares / shares.sum()


def slow_positions(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    out = np.zeros((len(value), query.shape[1]))
    for i in range(query.shape[1]):
        energies = np.array([query[:, i] @ key[:, j] for j in range(key.shape[1])])
        for j, share in enumerate(softmax(energies)):
            out[:, i] += share * value[:, j]
    return out


def slow_position_affinity(layer: Any, image: np.ndarray) -> np.ndarray:
    q, k, v = (mixed(one, image) for one in (layer.query, layer.key, layer.value))
    return layer.gain.item() * slow_positions(q, k, v)


def slow_channel_affinity(layer: Any, image: np.ndarray, energy: str) -> np.ndarray:
    out = np.zeros_like(image)
    for i in range(len(image)):
        energies = np.array([image[i] @ image[j] for j in range(len(image))])
        if energy == "inverted":
            energies = energies.max() - energies
        for j, share in enumerate(softmax(energies)):
            out[i] += share * image[j]
    return layer.gain.item() * out


def close(actual: Tensor, expected: np.ndarray) -> None:
    found = actual.detach().flatten(2).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_position_attention_is_its_equation(dims: int) -> None:
    module = made("dual-position", 8, dims, reduction=4)
    x = volume(8, dims)
    images = x.flatten(2).numpy()

    close(
        module(x),
        np.stack([one + slow_position_affinity(module.positions, one) for one in images]),
    )


@pytest.mark.parametrize("energy", ["inverted", "plain"])
@pytest.mark.parametrize("dims", [2, 3])
def test_channel_attention_is_its_equation(dims: int, energy: str) -> None:
    module = made("dual-channel", 5, dims, channel_energy=energy)
    x = volume(5, dims) / 4
    images = x.flatten(2).numpy()

    close(
        module(x),
        np.stack([one + slow_channel_affinity(module.channels, one, energy) for one in images]),
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_dual_attention_adds_both(dims: int) -> None:
    module = made("dual", 8, dims)
    x = volume(8, dims) / 4
    images = x.flatten(2).numpy()

    expected = [
        one
        + slow_position_affinity(module.positions, one)
        + slow_channel_affinity(module.channels, one, "inverted")
        for one in images
    ]
    close(module(x), np.stack(expected))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_non_local_block_is_its_equation(dims: int) -> None:
    module = made("nonlocal", 6, dims, norm="none")
    x = volume(6, dims)
    expected = []
    for image in x.flatten(2).numpy():
        parts = (mixed(one, image) for one in (module.theta, module.phi, module.values))
        expected.append(image + mixed(module.out, slow_positions(*parts)))

    close(module(x), np.stack(expected))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_non_local_block_equals_attention_of_monai(dims: int) -> None:
    blocks = pytest.importorskip("monai.networks.blocks.crossattention")
    theirs = blocks.CrossAttentionBlock(hidden_size=6, num_heads=1, qkv_bias=True).double().eval()
    ours = made("nonlocal", 6, dims, norm="none", inner_channels=6)
    pairs = [
        (ours.theta, theirs.to_q),
        (ours.phi, theirs.to_k),
        (ours.values, theirs.to_v),
        (ours.out, theirs.out_proj),
    ]
    for mine, other in pairs:
        mine.weight.data = other.weight.data.reshape(mine.weight.shape).clone()
        mine.bias.data = other.bias.data.clone()
    for one in (ours.theta.weight, ours.theta.bias):
        one.data *= theirs.scale  # theirs divides energies by the root of the width
    x = volume(6, dims)
    tokens = x.flatten(2).transpose(1, 2)

    expected = x + theirs(tokens).transpose(1, 2).reshape(x.shape)

    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize("name", SOLID)
def test_it_starts_as_the_identity(name: str) -> None:
    build: Any = ATTENTION[name]
    x = torch.rand(2, 8, 3, 4, 5)

    torch.testing.assert_close(build(8).eval()(x), x)


@pytest.mark.parametrize("name", SOLID)
def test_one_slice_in_3d_is_the_same_as_in_2d(name: str) -> None:
    flat, solid = made(name, 8, 2), made(name, 8, 3)
    shapes = {key: one.shape for key, one in solid.state_dict().items()}
    solid.load_state_dict({k: one.reshape(shapes[k]) for k, one in flat.state_dict().items()})
    x = volume(8, 2)

    torch.testing.assert_close(solid(x[:, :, None])[:, :, 0], flat(x))


def test_dual_attention_with_its_published_convolutions_learns_in_all_weights() -> None:
    build: Any = ATTENTION["dual"]
    module = build(8, has_head=True, dropout=0.0)

    module(torch.rand(2, 8, 3, 4, 5)).square().sum().backward()

    assert all(one.grad is not None and one.grad.isfinite().all() for one in module.parameters())


@pytest.mark.parametrize(("size", "most"), [((5, 9, 7), 30), ((1, 64, 3), 8), ((4, 4, 4), 64)])
def test_keys_are_averaged_down_to_the_most_there_may_be(size: tuple[int, ...], most: int) -> None:
    x = volume(2, 3, size)

    tokens = pool_tokens(x, most)

    assert tokens[0, 0].numel() <= most
    assert tokens.numel() > 0
    assert torch.equal(tokens, x) == (x[0, 0].numel() <= most)


def test_no_matrix_of_all_pairs_of_voxels_is_kept_for_the_gradient() -> None:
    x = torch.rand(1, 4, 16, 16, 16, requires_grad=True)
    kept = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda one: one):
        attend(x, x, x)

    assert max(kept) <= 4 * 16**3


@pytest.mark.parametrize("dims", [2, 3])
def test_a_row_of_the_position_map_is_what_the_module_uses(dims: int) -> None:
    config = ModelConfig(attention="dual-position", sites=("encoder:1",), dims=dims)
    model = build_model(config).double().eval()
    seen: list[Any] = []
    module = model.stages["encoder1"].attention.module
    module.positions.value.register_forward_hook(lambda *args: seen.append(args[-1]))
    nn.init.ones_(module.positions.gain)
    moved: list[Any] = []
    module.register_forward_hook(lambda _, args, out: moved.append(out - args[0]))
    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(2, 1, 4, 8, 12, dtype=torch.float64))

    row = recorded[0].row((1, 2, 3))

    value, taken = (model.unfold(one[0], 2) for one in (seen, moved))
    torch.testing.assert_close(row.sum(dim=(1, 2, 3, 4)), torch.ones(2))
    expected = (row * value).sum(dim=(2, 3, 4))
    torch.testing.assert_close(taken[:, :, 1, 2, 3], expected.to(taken), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_channel_affinities_are_one_table_a_volume(dims: int) -> None:
    config = ModelConfig(attention="dual-channel", sites=("bottleneck",), dims=dims)
    model = build_model(config).eval()
    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(2, 1, 4, 8, 12))

    table = recorded[0].numbers()

    assert table.shape == (2, 32, 32)
    torch.testing.assert_close(table.sum(dim=2), torch.ones(2, 32))
