"""What attention modules share that weigh slices and channels, in one order or the other."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.models.attention import AttentionModule
from napari_attnseg.models.blocks import broadcast, check_choice
from napari_attnseg.models.channel_weights import POOLINGS, ChannelWeights, pool_channels
from napari_attnseg.models.recording import AttentionMap
from napari_attnseg.models.slice_weights import SliceWeights, depth_at


class SlicesAndChannels(AttentionModule):
    """Base of modules with weights of slices and weights of channels (Zhang et al. 2022).

    Args:
        channels: C.
        dims: 3; in 2 dimensions rows are taken for slices.
        context_channels: Unused.
        level: Level of the place, which has half the slices of the one above.
        depth: Slices at full resolution that the slice weights are made for.
        reduction: C over the number of hidden units for channels, of which there is at least one.
        slice_reduction: The same for slices.
        pooling: What channels are weighed by: ``"avg"``, ``"max"`` or ``"both"``.
        slice_pooling: The same for slices.
        mode: ``"adaptive"`` takes any depth, ``"fixed"``, as published, that of `depth` only.
        last_slice_level: Deepest level at which slices are weighed; deeper, only channels are.
    """

    default_sites = ("encoder", "bottleneck", "decoder")

    def __init__(  # noqa: PLR0913 - options are keywords
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        level: int = 0,
        depth: int = 64,
        reduction: int = 8,
        slice_reduction: int = 16,
        pooling: str = "avg",
        slice_pooling: str = "avg",
        mode: str = "adaptive",
        last_slice_level: int | None = None,
    ) -> None:
        super().__init__()
        check_choice("pooling", pooling, POOLINGS)
        self.pooling = pooling
        self.channels = ChannelWeights(channels, reduction)
        self.channel_map = AttentionMap("channel")
        self.has_slices = last_slice_level is None or level <= last_slice_level
        if not self.has_slices:
            return
        self.slices = SliceWeights(
            channels,
            depth_at(depth, level),
            reduction=slice_reduction,
            pooling=slice_pooling,
            mode=mode,
        )
        self.slice_map = AttentionMap("slice")

    def weigh_channels(self, x: Tensor, described: list[Tensor] | None = None) -> Tensor:
        """Return ``x * c``, with c by squeeze and excitation.

        Args:
            x: ``(B, C, d, h, w)``, or ``(B, C, h, w)`` in 2 dimensions.
            described: What c is found from, ``(B, C)`` each; by default all of x, pooled.
        """
        pooled = pool_channels(x, self.pooling) if described is None else described
        return x * self.channel_map(broadcast(self.channels(pooled), x))

    def weigh_slices(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x * w``, and w, ``(B, C, d)``."""
        if not self.has_slices:
            return x, x.new_ones(x.shape[:3])
        weights = self.slices(x)
        return x * self.slice_map(broadcast(weights, x)), weights
