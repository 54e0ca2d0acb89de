"""Where the voxels of a layer lie, and how a map of a moved input comes back to its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from napari_attnseg.axes import Size, Spacing


@dataclass(frozen=True)
class LayerGrid:
    """Where the voxels of a layer lie: voxel u at ``offset + stride * u`` of the input.

    Args:
        stride_dhw: Input voxels from one voxel of the layer to the next.
        offset_dhw: Input voxel at which the layer's first voxel is centred.
        field_dhw: Input voxels that convolutions and pooling let one voxel see.
    """

    stride_dhw: Spacing = (1.0, 1.0, 1.0)
    offset_dhw: Spacing = (0.0, 0.0, 0.0)
    field_dhw: Size = (1, 1, 1)

    def after(
        self, kernel: Size, stride: Size = (1, 1, 1), padding: Size | None = None
    ) -> LayerGrid:
        """Return the grid after a convolution or a pooling.

        Args:
            kernel: Its size along D, H and W.
            stride: Its step.
            padding: What it adds before the first voxel; None is half an odd kernel.
        """
        padding = padding or cast("Size", tuple((k - 1) // 2 for k in kernel))
        rows = zip(self.stride_dhw, self.offset_dhw, kernel, padding, strict=True)
        offset = tuple(start + ((k - 1) / 2 - p) * jump for jump, start, k, p in rows)
        seen = zip(self.field_dhw, kernel, self.stride_dhw, strict=True)
        return LayerGrid(
            cast("Spacing", tuple(a * b for a, b in zip(self.stride_dhw, stride, strict=True))),
            cast("Spacing", offset),
            cast("Size", tuple(int(f + (k - 1) * jump) for f, k, jump in seen)),
        )


MoveBack = Callable[[Tensor, LayerGrid], Tensor]
"""Brings a map that was made of a moved input back to the place of the input; the grid is that of
the map within the input of `SegmentationModel.network`."""


def stay(tensor: Tensor, grid: LayerGrid) -> Tensor:
    """Return a map as it is: a `MoveBack` for inputs that were not moved."""
    return tensor


class Entrance(nn.Module):
    """What the input of a network passes first; this one does nothing."""

    def forward(self, x: Tensor) -> tuple[Tensor, MoveBack]:
        """Return what the network sees, and what brings its maps back to the input's place."""
        return x, stay
