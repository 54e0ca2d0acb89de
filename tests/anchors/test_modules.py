"""Attention modules against timm and segmentation_models_pytorch, with the same weights.

In 3 dimensions, which these libraries do not have, a volume of one slice must give the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import timm.layers
import torch
from segmentation_models_pytorch.base.modules import SCSEModule
from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn
from timm.layers.non_local_attn import NonLocalAttn
from torch import Tensor, nn

from napari_attnseg.models.attention import ATTENTION

CHANNELS = 32

Names = Mapping[str, str]
"""From the beginnings of our weights' names to those of the anchor's."""

SE = {"squeeze": "fc1", "excite": "fc2"}
SCSE = {"channels.squeeze": "cSE.1", "channels.excite": "cSE.3", "conv": "sSE.0"}
CBAM = {
    "squeeze": "channel.fc1",
    "excite": "channel.fc2",
    "conv": "spatial.conv.conv",
    "norm": "spatial.conv.bn",
}
NON_LOCAL = {"theta": "t", "phi": "p", "values": "g", "out": "z", "norm": "norm"}
SPLIT = {
    "conv": "conv",
    "norm": "bn0",
    "squeeze": "fc1",
    "squeeze_norm": "bn1",
    "excite": "fc2",
}
COORD = {"squeeze": "conv1", "norm": "bn1", "excite.0": "conv_h", "excite.1": "conv_w"}


def randomised(anchor: nn.Module) -> nn.Module:
    """Return an anchor in double precision whose every weight is drawn, norms included."""
    generator = torch.Generator().manual_seed(1)
    for name, value in anchor.double().eval().state_dict().items():
        if value.is_floating_point():
            low = 0.4 if name.endswith("running_var") else -0.6
            value.copy_(low + torch.rand(value.shape, generator=generator, dtype=value.dtype))
    return anchor


def renamed(name: str, names: Names) -> str:
    ours = next(one for one in sorted(names, key=len, reverse=True) if name.startswith(f"{one}."))
    return names[ours] + name.removeprefix(ours)


def loaded(module: nn.Module, anchor: nn.Module, names: Names) -> nn.Module:
    """Return our module with the anchor's weights; kernels of 3-D ones are filled in their middle.

    Every weight of the anchor must find its place.
    """
    theirs = anchor.state_dict()
    used = set()
    for name, own in module.double().eval().state_dict().items():
        value = theirs[renamed(name, names)]
        used.add(renamed(name, names))
        if own.ndim == 5 and own.shape[2] > 1:
            own.zero_()[:, :, own.shape[2] // 2] = value
        else:
            own.copy_(value.reshape(own.shape))
    assert used == set(theirs)
    return module


def image() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, CHANNELS, 7, 10, dtype=torch.float64, generator=generator)


def same(module: nn.Module, anchor: nn.Module, dims: int) -> None:
    """Compare outputs and the gradients of the input."""
    ours, theirs = (image().requires_grad_() for _ in range(2))
    shaped = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).reshape(ours.shape)

    found = module(ours) if dims == 2 else module(ours[:, :, None])[:, :, 0]
    expected = anchor(theirs)

    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    (found * shaped).sum().backward()
    (expected * shaped).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-6)


def made(name: str, dims: int, **options: Any) -> nn.Module:
    build: Any = ATTENTION[name]
    return build(CHANNELS, dims=dims, **options)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_se_equals_that_of_timm(dims: int, bias: bool) -> None:
    anchor = randomised(timm.layers.SqueezeExcite(CHANNELS, rd_channels=8, bias=bias))

    same(loaded(made("se", dims, reduction=4, bias=bias), anchor, SE), anchor, dims)


@pytest.mark.parametrize("dims", [2, 3])
def test_scse_equals_that_of_segmentation_models(dims: int) -> None:
    anchor = randomised(SCSEModule(CHANNELS, reduction=4))

    same(loaded(made("scse", dims, reduction=4), anchor, SCSE), anchor, dims)


@pytest.mark.parametrize("dims", [2, 3])
def test_cbam_equals_that_of_timm(dims: int) -> None:
    anchor = randomised(CbamModule(CHANNELS, rd_channels=4, mlp_bias=True))
    module: Any = loaded(made("cbam", dims, reduction=8), anchor, CBAM)
    # timm joins mean and maximum, the paper maximum and mean.
    module.conv.weight.data = module.conv.weight.data.flip(1)

    same(module, anchor, dims)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("cardinality", [1, 2])
@pytest.mark.parametrize("radix", [1, 2, 4])
def test_split_attention_equals_that_of_timm(dims: int, cardinality: int, radix: int) -> None:
    anchor = randomised(
        timm.layers.SplitAttn(
            CHANNELS,
            groups=cardinality,
            radix=radix,
            rd_divisor=cardinality,
            norm_layer=nn.BatchNorm2d,
        )
    )
    module = made("split", dims, cardinality=cardinality, radix=radix)

    same(loaded(module, anchor, SPLIT), anchor, dims)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_non_local_block_equals_that_of_timm(dims: int) -> None:
    anchor = randomised(NonLocalAttn(CHANNELS, use_scale=False, rd_channels=8))

    same(loaded(made("nonlocal", dims, inner_channels=8), anchor, NON_LOCAL), anchor, dims)


@pytest.mark.parametrize("dims", [2, 3])
def test_efficient_channel_attention_equals_that_of_timm(dims: int) -> None:
    anchor = randomised(timm.layers.EcaModule(CHANNELS))

    same(loaded(made("eca", dims), anchor, {"conv": "conv"}), anchor, dims)


def test_coordinate_attention_equals_that_of_timm() -> None:
    anchor = randomised(CoordAttn(CHANNELS, rd_channels=8, bias=True))

    same(loaded(made("coord", 2, reduction=4), anchor, COORD), anchor, 2)
