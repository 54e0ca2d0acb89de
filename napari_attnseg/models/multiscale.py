"""Convolutions without padding on the image as it is and on coarser samples of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.models import blocks
from napari_attnseg.models.grid import LayerGrid


def unpadded_unit(dims: int, channels: int, out: int, kernel: Size, norm: str) -> nn.Sequential:
    """Return normalisation, activation, and a convolution that sees only what is there."""
    return nn.Sequential(
        blocks.norm(dims, norm, channels),
        activation(channels),
        unpadded_conv(dims, channels, out, kernel, bias=norm == "none"),
    )


def activation(channels: int) -> nn.Module:
    """Return a PReLU with a slope for each channel, which starts at 0.01."""
    return nn.PReLU(channels, init=0.01)


def unpadded_conv(dims: int, channels: int, out: int, kernel: Size, *, bias: bool) -> nn.Module:
    """Return a convolution whose map is smaller than its input by the kernel less one."""
    layer: Any = nn.Conv3d if dims == 3 else nn.Conv2d
    made = layer(channels, out, blocks.per_axis(kernel, dims), bias=bias)
    nn.init.kaiming_normal_(made.weight, a=0.01, nonlinearity="leaky_relu")
    return made


class Pathway(nn.Module):
    """Convolutions without padding, on every f-th voxel of the image.

    Args:
        dims: 2 or 3.
        channels: Channels of the image.
        widths: Channels of each convolution.
        kernel: Of each along D, H and W.
        factor: f along D, H and W.
        norm: Normalisation before all convolutions but the first.
        residual: Numbers, from 1, of the convolutions to whose output that of the last but one
            is added, cut to size and with zeros for channels that it lacks.
    """

    def __init__(
        self,
        dims: int,
        channels: int,
        widths: Sequence[int],
        kernel: Size,
        factor: Size,
        *,
        norm: str = "batch",
        residual: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.kernel, self.factor = kernel, factor
        self.residual = tuple(residual)
        self.reach = cast("Size", tuple(len(widths) * (k // 2) for k in kernel))
        """Samples around an output voxel that it sees, along D, H and W."""
        first = unpadded_conv(dims, channels, widths[0], kernel, bias=True)
        pairs = itertools.pairwise(widths)
        units = [unpadded_unit(dims, a, b, kernel, norm) for a, b in pairs]
        self.layers = nn.ModuleList([first, *units])

    def forward(self, x: Tensor) -> Tensor:
        before = x
        for number, layer in enumerate(self.layers, start=1):
            y = layer(x)
            if number in self.residual:
                y = y + _fitted(before, y)
            before, x = x, y
        return x

    def samples(self, x: Tensor, margin: Size, extra: Size) -> Tensor:
        """Return what the path sees of an image.

        Args:
            x: With `margin` voxels around what is labelled.
            margin: See `x`.
            extra: Voxels beyond what is labelled that the path's output must cover too.
        """
        dims = x.ndim - 2
        slices = [slice(None), slice(None)]
        rows = zip(x.shape[2:], *(self._axes(one, dims) for one in (margin, extra)), strict=True)
        facts = zip(self._axes(self.factor, dims), self._axes(self.reach, dims), strict=True)
        for (size, around, more), (factor, reach) in zip(rows, facts, strict=True):
            beyond = reach + -(-more // factor)
            count = (size - 2 * around) // factor + 2 * beyond
            start = around + factor // 2 - beyond * factor
            slices.append(slice(start, start + (count - 1) * factor + 1, factor))
        return x[tuple(slices)]

    def at_full_resolution(self, y: Tensor, extra: Size) -> Tensor:
        """Return the path's output repeated, for what is labelled and `extra` voxels around it."""
        dims = y.ndim - 2
        slices = [slice(None), slice(None)]
        for factor, more in zip(
            self._axes(self.factor, dims), self._axes(extra, dims), strict=True
        ):
            if factor > 1:
                y = y.repeat_interleave(factor, dim=len(slices))
            cut = -(-more // factor) * factor - more
            slices.append(slice(cut, y.shape[len(slices)] - cut))
        return y[tuple(slices)]

    def grid(self, margin: Size, extra: Size) -> LayerGrid:
        """Return where the path's voxels lie in an image with a margin."""
        rows = zip(margin, self.factor, extra, strict=True)
        offset = tuple(m + f // 2 - -(-e // f) * f for m, f, e in rows)
        seen = tuple(2 * r * f + 1 for r, f in zip(self.reach, self.factor, strict=True))
        return LayerGrid(
            cast("Spacing", tuple(map(float, self.factor))),
            cast("Spacing", tuple(map(float, offset))),
            cast("Size", seen),
        )

    @staticmethod
    def _axes(values: Size, dims: int) -> tuple[int, ...]:
        return values[3 - dims :]


def _fitted(x: Tensor, y: Tensor) -> Tensor:
    """Return the middle of a map, as large as another and with as many channels."""
    slices = [slice(None), slice(0, min(x.shape[1], y.shape[1]))]
    for larger, size in zip(x.shape[2:], y.shape[2:], strict=True):
        start = (larger - size) // 2
        slices.append(slice(start, start + size))
    cut = x[tuple(slices)]
    missing = y.shape[1] - cut.shape[1]
    return nn.functional.pad(cut, [0, 0] * (x.ndim - 2) + [0, missing]) if missing else cut
