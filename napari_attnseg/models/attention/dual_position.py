"""Position attention of the dual attention network (Fu et al. 2019, arXiv 1809.02983)."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.models.affinities import MAX_TOKENS, PositionAffinity
from napari_attnseg.models.attention import ATTENTION, AttentionModule


@ATTENTION.register("dual-position")
class DualPositionAttention(AttentionModule):
    """Adds to each voxel what voxels like it contain, wherever they lie.

    ``y = x + g * V softmax(Q^T K)^T`` with g learned from 0, so that it starts as the identity;
    Fu et al. 2019.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        reduction: C over the channels of queries and keys, of which there is at least one.
        max_tokens: Most voxels that a voxel attends to; larger maps are averaged to so many, so
            that memory stays bounded.
    """

    title = "Dual attention, positions"
    default_sites = ("bottleneck",)
    kinds = ("position",)

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        reduction: int = 8,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        super().__init__()
        self.positions = PositionAffinity(
            dims, channels, reduction=reduction, max_tokens=max_tokens
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x + self.positions(x)
