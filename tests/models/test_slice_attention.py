"""Slice, progressive, csA and scA attention against slow loops over their equations."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model, record
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.slice_weights import key_slices

DEPTH = 6
SIZE = (DEPTH, 4, 3)


def made(name: str, channels: int = 3, *, scale: float = 2.0, **options: Any) -> Any:
    torch.manual_seed(3)
    build: Any = ATTENTION[name]
    module = build(channels, depth=DEPTH, **options).double()
    for weight in module.parameters():
        nn.init.uniform_(weight, -scale, scale)
    return module


def volume(channels: int = 3, size: tuple[int, ...] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, channels, *size, dtype=torch.float64, generator=generator)


def pools(pooling: str) -> list[Any]:
    return {"avg": [Tensor.mean], "max": [Tensor.max], "both": [Tensor.mean, Tensor.max]}[pooling]


def slow_slice_weights(layer: Any, x: Tensor, pooling: str) -> list[list[Tensor]]:
    """Return w[c][d] of one image, number by number."""
    weights = []
    for c, channel in enumerate(x):
        energy = [torch.zeros((), dtype=x.dtype) for _ in range(DEPTH)]
        for pool in pools(pooling):
            s = [pool(channel[d]) for d in range(DEPTH)]
            hidden = []
            for j in range(layer.squeeze.shape[1]):
                total = layer.squeeze_bias[c, j]
                for d in range(DEPTH):
                    total = total + layer.squeeze[c, j, d] * s[d]
                hidden.append(total.clamp(min=0))
            for d in range(DEPTH):
                energy[d] = energy[d] + layer.excite_bias[c, d]
                for j, value in enumerate(hidden):
                    energy[d] = energy[d] + layer.excite[c, d, j] * value
        weights.append([1 / (1 + torch.exp(-one)) for one in energy])
    return weights


def slow_channel_weights(layer: Any, pooled: list[list[Tensor]]) -> list[Tensor]:
    """Return one weight for each channel from one or more numbers for each."""
    channels = len(pooled[0])
    energy = [torch.zeros((), dtype=pooled[0][0].dtype) for _ in range(channels)]
    for z in pooled:
        hidden = []
        for j in range(layer.squeeze.out_features):
            total = layer.squeeze.bias[j]
            for c in range(channels):
                total = total + layer.squeeze.weight[j, c] * z[c]
            hidden.append(total.clamp(min=0))
        for c in range(channels):
            energy[c] = energy[c] + layer.excite.bias[c]
            for j, value in enumerate(hidden):
                energy[c] = energy[c] + layer.excite.weight[c, j] * value
    return [1 / (1 + torch.exp(-one)) for one in energy]


def slow_slices(module: Any, x: Tensor, pooling: str = "avg") -> Tensor:
    rows = [slow_slice_weights(module.slices, image, pooling) for image in x]
    images = zip(x, rows, strict=True)
    return torch.stack(
        [
            torch.stack(
                [
                    torch.stack([channel[d] * w[c][d] for d in range(DEPTH)])
                    for c, channel in enumerate(image)
                ]
            )
            for image, w in images
        ]
    )


def slow_channels(module: Any, x: Tensor, pooling: str = "avg") -> Tensor:
    out = []
    for image in x:
        pooled = [[pool(channel) for channel in image] for pool in pools(pooling)]
        g = slow_channel_weights(module.channels, pooled)
        out.append(torch.stack([one * weight for one, weight in zip(image, g, strict=True)]))
    return torch.stack(out)


def slow_progressive(module: Any, x: Tensor, pooling: str, slice_pooling: str) -> Tensor:
    out = []
    for image in x:
        w = slow_slice_weights(module.slices, image, slice_pooling)
        weighted, keys = [], []
        for c, channel in enumerate(image):
            weighted.append([channel[d] * w[c][d] for d in range(DEPTH)])
            exponents = [math.exp(one.item()) for one in w[c]]
            shares = [one / sum(exponents) for one in exponents]
            keys.append([d for d in range(DEPTH) if shares[d] >= sum(shares) / DEPTH])
        pooled = []
        for pool in pools(pooling):
            z = [
                pool(torch.stack([slices[d] for d in key]))
                for slices, key in zip(weighted, keys, strict=True)
            ]
            pooled.append([one.detach() for one in z] if module.detach_descriptor else z)
        g = slow_channel_weights(module.channels, pooled)
        out.append(
            torch.stack(
                [torch.stack(one) * weight for one, weight in zip(weighted, g, strict=True)]
            )
        )
    return torch.stack(out)


def same_with_gradients(module: Any, fast: Tensor, slow: Tensor, x: Tensor) -> None:
    at = [x, *module.parameters()]
    shaped = torch.randn(fast.shape, dtype=fast.dtype, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-9)
    ours = torch.autograd.grad((fast * shaped).sum(), at)
    theirs = torch.autograd.grad((slow * shaped).sum(), at, allow_unused=True)
    for mine, other in zip(ours, theirs, strict=True):
        expected = torch.zeros_like(mine) if other is None else other
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("pooling", ["avg", "max", "both"])
@pytest.mark.parametrize("reduction", [1, 3, 16])
def test_slice_attention_is_its_equations(pooling: str, reduction: int) -> None:
    module = made("slice", pooling=pooling, reduction=reduction, mode="fixed")
    x = volume().requires_grad_()

    same_with_gradients(module, module(x), slow_slices(module, x, pooling), x)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("pooling", ["avg", "max", "both"])
@pytest.mark.parametrize("slice_pooling", ["avg", "both"])
def test_progressive_attention_is_its_equations(
    detach: bool, pooling: str, slice_pooling: str
) -> None:
    module = made(
        "pam",
        pooling=pooling,
        slice_pooling=slice_pooling,
        slice_reduction=2,
        reduction=1,
        detach_descriptor=detach,
    )
    x = volume().requires_grad_()

    same_with_gradients(module, module(x), slow_progressive(module, x, pooling, slice_pooling), x)


@pytest.mark.parametrize("name", ["csa", "sca"])
def test_channel_and_slice_attention_follow_each_other(name: str) -> None:
    module = made(name, slice_reduction=2, reduction=1)
    x = volume().requires_grad_()
    steps = [slow_channels, slow_slices] if name == "csa" else [slow_slices, slow_channels]

    expected = x
    for step in steps:
        expected = step(module, expected)

    same_with_gradients(module, module(x), expected, x)


def test_the_order_of_channel_and_slice_attention_matters() -> None:
    first, second = made("csa"), made("sca")
    second.load_state_dict(first.state_dict())
    x = volume()

    assert (first(x) - second(x)).abs().max() > 1e-3


def test_the_descriptor_gives_a_gradient_unless_it_is_detached() -> None:
    grads = {}
    for detach in (False, True):
        module = made("pam", detach_descriptor=detach, reduction=1)
        module(volume()).sum().backward()
        grads[detach] = module.slices.excite.grad

    assert (grads[False] - grads[True]).abs().max() > 1e-6


@pytest.mark.parametrize("depth", [1, 2, 5, 144])
def test_there_is_a_key_slice_even_where_all_weigh_the_same(depth: int) -> None:
    generator = torch.Generator().manual_seed(depth)
    values = torch.rand(300, 1, generator=generator)

    selected = key_slices(values[..., None].expand(-1, -1, depth))

    assert selected.any(dim=2).all()


def test_key_slices_are_those_of_the_softmax() -> None:
    w = torch.rand(4, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = np.exp(w.numpy()) / np.exp(w.numpy()).sum(axis=2, keepdims=True)

    assert (key_slices(w).numpy() == (shares >= shares.mean(axis=2, keepdims=True))).all()


def test_what_is_not_in_a_key_slice_does_not_weigh_on_channels() -> None:
    module = made("pam", channels=1)
    x = volume(channels=1).abs()
    nn.init.ones_(module.channels.squeeze.weight)
    nn.init.zeros_(module.channels.squeeze.bias)
    nn.init.zeros_(module.slices.excite)  # the weights are fixed, the first slice is the key
    module.slices.excite_bias.data = torch.tensor([[4.0, *[-4.0] * (DEPTH - 1)]]).double()
    changed = x.clone()
    changed[:, :, 2] += 10

    same = [d for d in range(DEPTH) if d != 2]
    torch.testing.assert_close(module(changed)[:, :, same], module(x)[:, :, same])
    changed[:, :, 0] += 10
    assert (module(changed)[:, :, 1] - module(x)[:, :, 1]).abs().max() > 1e-6


@pytest.mark.parametrize("name", ["slice", "pam", "csa", "sca"])
def test_adaptive_and_fixed_depth_agree_on_the_depth_they_were_made_for(name: str) -> None:
    fixed, adaptive = made(name, mode="fixed"), made(name)
    x = volume()

    torch.testing.assert_close(adaptive(x), fixed(x), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "depth"), itertools.product(["slice", "pam"], [1, 4, 13]))
def test_adaptive_slice_attention_takes_any_depth(name: str, depth: int) -> None:
    module = made(name)
    x = volume(size=(depth, 4, 3))

    factors = module(x) / x
    assert module(x).shape == x.shape
    torch.testing.assert_close(factors, factors[:, :, :, :1, :1].expand_as(factors))
    assert (factors > 0).all()
    assert (factors < 1).all()


def test_fixed_slice_attention_refuses_another_depth() -> None:
    config = ModelConfig(attention="slice", attention_options={"mode": "fixed", "depth": 8})
    model = build_model(config)

    model(torch.rand(1, 1, 8, 4, 12))
    with pytest.raises(ModelError, match="built for 8 slices here, but is given 12"):
        model(torch.rand(1, 1, 12, 4, 8))


def test_progressive_attention_shows_slice_weights_and_key_slices() -> None:
    model = build_model(ModelConfig(attention="pam", sites=("encoder:1",))).eval()
    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(2, 1, 12, 4, 8))

    weights, keys, channels = recorded
    assert [one.name.split(".", 1)[1] for one in recorded] == [
        "pam.slice", "pam.key_slices", "pam.channel",
    ]  # fmt: skip
    assert weights.tensor.shape == (2, 16, 6, 1, 1)
    assert torch.equal(keys.tensor[..., 0, 0].bool(), key_slices(weights.tensor[..., 0, 0]))
    assert weights.volume().shape == (2, 1, 6, 2, 4)
    assert channels.numbers().shape == (2, 16)


def test_progressive_attention_can_leave_skips_to_a_gate() -> None:
    config = ModelConfig(
        attention="pam",
        sites=("encoder", "skip"),
        attention_options={"has_skip_gate": True},
    )
    model = build_model(config).eval()

    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(1, 1, 4, 8, 12))

    kinds = {one.name.rsplit(".", 1)[0]: one.kind for one in recorded}
    assert kinds["skip0.pam"] == "spatial"
    assert kinds["encoder0.pam"] == "channel"
