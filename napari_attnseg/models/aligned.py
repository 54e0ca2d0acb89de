"""Interpolation to a finer grid for networks whose strides begin at the first voxel.

A padded convolution of odd size and stride s puts its voxels at 0, s, 2s...; interpolation between
voxels as boxes, which suits pooling over s voxels, would move such a map by half a cell.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.models.blocks import per_axis


class AlignedUpsample(nn.Module):
    """Linear interpolation that keeps voxel u of a map at ``stride * u``; the last are repeated.

    Args:
        dims: 2 or 3.
        stride: Along D, H and W; the size is multiplied by it.
    """

    def __init__(self, dims: int, stride: Size) -> None:
        super().__init__()
        self.stride = per_axis(stride, dims)

    def forward(self, x: Tensor) -> Tensor:
        if all(step == 1 for step in self.stride):
            return x
        sizes = [(n - 1) * step + 1 for n, step in zip(x.shape[2:], self.stride, strict=True)]
        mode = "trilinear" if x.ndim == 5 else "bilinear"
        between = F.interpolate(x, size=sizes, mode=mode, align_corners=True)
        pads = [pad for step in reversed(self.stride) for pad in (0, step - 1)]
        return F.pad(between, pads, mode="replicate")

    def extra_repr(self) -> str:
        return f"stride={self.stride}"
