"""Project and excite (Rickmann et al. 2019, arXiv 1906.04649)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from torch import Tensor, nn

from napari_attnseg.axes import spatial_axes
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import activation, conv
from napari_attnseg.models.recording import AttentionMap

AXES = "dhw"


@ATTENTION.register("pe")
class ProjectExcite(AttentionModule):
    """Weighs each channel at each voxel by its profiles along the axes.

    ``y = x * sigmoid(conv1(relu(conv1(z))))``, where z adds the means of x over all axes but one,
    for each axis; Rickmann et al. 2019.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        reduction: C over the number of hidden channels, of which there is at least one.
        average: Whether z is divided by the number of axes.
        act: ``"relu"``, or ``"prelu"`` per channel.
    """

    title = "Project and excite"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("axis",)

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        reduction: int = 2,
        average: bool = False,
        act: str = "relu",
    ) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.spatial = spatial_axes(dims)
        self.scale = 1 / dims if average else 1.0
        self.squeeze = conv(dims, channels, hidden, 1)
        self.act = activation(act, hidden)
        self.excite = conv(dims, hidden, channels, 1)
        self.gate = nn.Sigmoid()
        axes = AXES[-dims:]
        self.profiles = nn.ModuleList(AttentionMap("axis", f"profile_{a}", None) for a in axes)
        self.marginals = nn.ModuleList(AttentionMap("axis", f"gate_{a}") for a in axes)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        profiles = [mark(p) for mark, p in zip(self.profiles, self._project(x), strict=True)]
        projected = reduce(add, profiles) * self.scale  # (B, C, d, h, w)
        gate = self.gate(self.excite(self.act(self.squeeze(projected))))  # (B, C, d, h, w)
        if any(mark.is_recording for mark in self.marginals):
            for mark, marginal in zip(self.marginals, self._project(gate), strict=True):
                mark(marginal)
        return x * gate

    def _project(self, x: Tensor) -> Sequence[Tensor]:
        others = [[axis for axis in self.spatial if axis != kept] for kept in self.spatial]
        return [x.mean(dim=axes, keepdim=True) for axes in others]
