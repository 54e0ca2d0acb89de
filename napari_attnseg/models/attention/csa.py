"""Channel, then slice attention (Zhang et al. 2022, doi 10.1002/mp.15369)."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import broadcast, check_choice
from napari_attnseg.models.channel_weights import POOLINGS, ChannelWeights, pool_channels
from napari_attnseg.models.recording import AttentionMap
from napari_attnseg.models.slice_weights import SliceWeights, depth_at


@ATTENTION.register("csa")
class ChannelSliceAttention(AttentionModule):
    """Weighs channels, then the slices of each channel.

    ``x' = x * c(x)``, then ``y = x' * w(x')``, with c as in squeeze and excitation and w as in
    `SliceWeights`; Zhang et al. 2022.

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
    """

    title = "Channel, then slice attention"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("channel", "slice")

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
    ) -> None:
        super().__init__()
        check_choice("pooling", pooling, POOLINGS)
        self.pooling = pooling
        self.channels = ChannelWeights(channels, reduction)
        self.channel_map = AttentionMap("channel")
        self.slices = SliceWeights(
            channels,
            depth_at(depth, level),
            reduction=slice_reduction,
            pooling=slice_pooling,
            mode=mode,
        )
        self.slice_map = AttentionMap("slice")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        weighted = x * self.channel_map(
            broadcast(self.channels(pool_channels(x, self.pooling)), x)
        )
        return weighted * self.slice_map(broadcast(self.slices(weighted), x))
