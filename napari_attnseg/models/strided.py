"""Convolutions that change the size of a map, with their normalisation and activation."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

from torch import Tensor, nn

from napari_attnseg.models import blocks
from napari_attnseg.models.blocks import PerAxis, UnitStyle


def ordered(style: UnitStyle, dims: int, channels: int) -> list[tuple[str, nn.Module]]:
    """Return normalisation and activation of a map, named, in the style's order."""
    after = [
        ("norm", blocks.norm(dims, style.norm, channels)),
        ("act", blocks.activation(style.activation, channels)),
    ]
    return after[::-1] if style.norm_last else after


def down_unit(
    dims: int, channels: int, out: int, stride: PerAxis, style: UnitStyle
) -> nn.Sequential:
    """Return a convolution whose kernel is its stride, with what follows it."""
    start = blocks.strided_conv(dims, channels, out, stride, bias=style.bias)
    nn.init.kaiming_normal_(cast("Tensor", start.weight), a=0.01, nonlinearity="leaky_relu")
    return nn.Sequential(OrderedDict([("conv", start), *ordered(style, dims, out)]))


def up_unit(
    dims: int, channels: int, out: int, stride: PerAxis, style: UnitStyle
) -> nn.Sequential:
    """Return a transposed convolution whose kernel is its stride, with what follows it."""
    start = blocks.up_conv(dims, channels, out, stride, bias=style.bias)
    return nn.Sequential(OrderedDict([("conv", start), *ordered(style, dims, out)]))


def padded_conv(
    dims: int, channels: int, out: int, kernel: PerAxis, stride: PerAxis = 1, *, bias: bool = True
) -> nn.Module:
    """Return a convolution of odd kernel, padded by half of it, that steps over voxels.

    Its first voxel lies on the input's first voxel. It starts as `blocks.conv_unit` does.
    """
    layer: Any = blocks.conv(dims, channels, out, kernel, bias=bias)
    layer.stride = blocks.per_axis(stride, dims)
    nn.init.kaiming_normal_(layer.weight, a=0.01, nonlinearity="leaky_relu")
    return layer
