"""Slice attention (Zhang et al. 2022, doi 10.1002/mp.15369)."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import broadcast
from napari_attnseg.models.recording import AttentionMap
from napari_attnseg.models.slice_weights import SliceWeights, depth_at


@ATTENTION.register("slice")
class SliceAttention(AttentionModule):
    """Weighs the slices of each channel by what all its slices contain on the whole.

    See `SliceWeights`, which has the equation.

    Args:
        channels: C.
        dims: 3; in 2 dimensions rows are taken for slices.
        context_channels: Unused.
        level: Level of the place, which has half the slices of the one above.
        depth: Slices at full resolution that the weights are made for.
        reduction: Slices over the number of hidden units, of which there is at least one.
        pooling: ``"avg"``, ``"max"`` or ``"both"``.
        mode: ``"adaptive"`` takes any depth, ``"fixed"``, as published, that of `depth` only.
    """

    title = "Slice attention"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("slice",)

    def __init__(  # noqa: PLR0913 - options are keywords
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        level: int = 0,
        depth: int = 64,
        reduction: int = 16,
        pooling: str = "avg",
        mode: str = "adaptive",
    ) -> None:
        super().__init__()
        self.slices = SliceWeights(
            channels, depth_at(depth, level), reduction=reduction, pooling=pooling, mode=mode
        )
        self.map = AttentionMap("slice")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x * self.map(broadcast(self.slices(x), x))
