"""Convolutions and poolings of encoders, whose strides, kernels and dilations differ by axis."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from napari_attnseg.axes import Size
from napari_attnseg.models import blocks
from napari_attnseg.models.blocks import PerAxis, per_axis

ONE: Size = (1, 1, 1)


def times(a: Size, b: Size) -> Size:
    """Return the products by axis."""
    return cast("Size", tuple(x * y for x, y in zip(a, b, strict=True)))


def widened(kernel: Size, dilation: Size) -> Size:
    """Return the voxels that a dilated kernel spans."""
    return cast("Size", tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)))


def overlapping(stride: Size) -> Size:
    """Return the kernel of 3 of a pooling, 1 along axes that it does not pool."""
    return cast("Size", tuple(3 if step > 1 else 1 for step in stride))


def conv(  # noqa: PLR0913 - the arguments of a convolution
    dims: int,
    channels: int,
    out: int,
    kernel: PerAxis = 3,
    *,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """Return a convolution that, but for its stride, keeps the size; kernels are odd.

    It starts so that activations keep their variance (He et al. 2015, arXiv 1502.01852).
    """
    sizes, steps, holes = (per_axis(one, dims) for one in (kernel, stride, dilation))
    padding = tuple((size - 1) * hole // 2 for size, hole in zip(sizes, holes, strict=True))
    layer: Any = nn.Conv3d if dims == 3 else nn.Conv2d
    made = layer(channels, out, sizes, steps, padding, holes, groups, bias)
    nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
    if bias:
        nn.init.zeros_(made.bias)
    return made


def max_pool(dims: int, stride: Size) -> nn.Module:
    """Return max pooling over windows of 3 that overlap, along the axes that it pools."""
    layer: Any = nn.MaxPool3d if dims == 3 else nn.MaxPool2d
    return layer(*_pooling(dims, overlapping(stride), stride))


def avg_pool(dims: int, stride: Size) -> nn.Module:
    """Return mean pooling over windows of 3 that overlap, along the axes that it pools."""
    layer: Any = nn.AvgPool3d if dims == 3 else nn.AvgPool2d
    return layer(*_pooling(dims, overlapping(stride), stride))


def mean_pool(dims: int, stride: Size) -> nn.Module:
    """Return mean pooling whose window is its stride."""
    layer: Any = nn.AvgPool3d if dims == 3 else nn.AvgPool2d
    return layer(per_axis(stride, dims), per_axis(stride, dims))


def _pooling(dims: int, kernel: Size, stride: Size) -> tuple[tuple[int, ...], ...]:
    sizes = per_axis(kernel, dims)
    return sizes, per_axis(stride, dims), tuple(size // 2 for size in sizes)


class Shortcut(nn.Sequential):
    """The way around a block: a convolution of one voxel with its norm, or nothing."""

    def __init__(self, dims: int, channels: int, out: int, stride: Size, norm: str) -> None:
        layers: list[nn.Module] = []
        if channels != out or stride != ONE:
            start = conv(dims, channels, out, 1, stride=stride)
            layers = [start, blocks.norm(dims, norm, out)]
        super().__init__(*layers)
