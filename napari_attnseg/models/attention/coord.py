"""Coordinate attention (Hou et al. 2021, arXiv 2103.02907)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_attnseg.axes import spatial_axes
from napari_attnseg.models import blocks
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.recording import AttentionMap

AXES = "dhw"


@ATTENTION.register("coord")
class CoordinateAttention(AttentionModule):
    """Weighs each channel by where a voxel lies along each axis.

    The means of x over all axes but one are joined end to end, pass
    ``f = hardswish(norm(conv1(z)))``, and are taken apart again: ``y = x * a_d * a_h * a_w`` with
    ``a = sigmoid(conv1(f))`` for each axis; Hou et al. 2021, here with D where there is one.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        reduction: C over the number of hidden channels.
        min_channels: Fewest hidden channels.
        norm: ``"batch"`` as published, ``"instance"``, ``"group"`` or ``"none"``.
    """

    title = "Coordinate attention"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("axis",)

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        reduction: int = 32,
        min_channels: int = 8,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        hidden = max(min_channels, channels // reduction)
        axes = AXES[-dims:]
        self.spatial = spatial_axes(dims)
        self.squeeze = blocks.conv(2, channels, hidden, 1)
        self.norm = blocks.norm(2, norm, hidden)
        self.act = nn.Hardswish()
        self.excite = nn.ModuleList(blocks.conv(2, hidden, channels, 1) for _ in axes)
        self.gates = nn.ModuleList(nn.Sigmoid() for _ in axes)
        self.maps = nn.ModuleList(AttentionMap("axis", f"gate_{axis}") for axis in axes)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        joined = torch.cat([self._profile(x, axis) for axis in self.spatial], dim=2)
        features = self.act(self.norm(self.squeeze(joined)))
        parts = features.split([x.shape[axis] for axis in self.spatial], dim=2)
        layers = zip(self.spatial, parts, self.excite, self.gates, self.maps, strict=True)
        y = x
        for axis, part, excite, gate, mark in layers:
            weights = gate(excite(part))  # (B, C, n, 1)
            shape = [x.shape[one] if one == axis else 1 for one in self.spatial]
            y = y * mark(weights.reshape(*x.shape[:2], *shape))
        return y

    def _profile(self, x: Tensor, kept: int) -> Tensor:
        """Return the means over all axes but one, ``(B, C, n, 1)``."""
        return x.mean(dim=[axis for axis in self.spatial if axis != kept]).unsqueeze(3)
