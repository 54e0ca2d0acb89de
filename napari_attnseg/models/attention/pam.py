"""Progressive attention module (Zhang et al. 2022, doi 10.1002/mp.15369)."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import broadcast, check_choice
from napari_attnseg.models.channel_weights import POOLINGS, ChannelWeights
from napari_attnseg.models.recording import AttentionMap
from napari_attnseg.models.slice_weights import SliceWeights, depth_at, key_slices


@ATTENTION.register("pam")
class ProgressiveAttention(AttentionModule):
    """Weighs the slices of each channel, then channels by what their key slices contain.

    ``x' = x * w`` as in `SliceWeights`; slices with ``softmax(w) >= mean(softmax(w))`` are key
    slices; ``y = x' * sigmoid(W2 relu(W1 z))``, where z_c is the mean of x' over the key slices
    of channel c; Zhang et al. 2022. The choice of key slices has no gradient.

    Args:
        channels: C.
        dims: 3; in 2 dimensions rows are taken for slices.
        context_channels: Channels of the coarser map, with `has_skip_gate`.
        level: Level of the place, which has half the slices of the one above.
        depth: Slices at full resolution that the slice weights are made for.
        reduction: C over the number of hidden units for channels, of which there is at least one.
        slice_reduction: The same for slices.
        pooling: What channels are weighed by: ``"avg"``, ``"max"`` or ``"both"``.
        slice_pooling: The same for slices.
        mode: ``"adaptive"`` takes any depth, ``"fixed"``, as published, that of `depth` only.
        detach_descriptor: Whether no gradient flows through z, as in the published code.
        has_skip_gate: Whether an attention gate stands in for this module on skips.
    """

    title = "Progressive attention"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("slice", "channel")

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
        detach_descriptor: bool = False,
        has_skip_gate: bool = False,
    ) -> None:
        super().__init__()
        check_choice("pooling", pooling, POOLINGS)
        self.pooling = pooling
        self.detach_descriptor = detach_descriptor
        self.needs_context = has_skip_gate and context_channels is not None
        if self.needs_context:
            self.gate = ATTENTION["gate"](channels, dims=dims, context_channels=context_channels)
            return
        self.slices = SliceWeights(
            channels,
            depth_at(depth, level),
            reduction=slice_reduction,
            pooling=slice_pooling,
            mode=mode,
        )
        self.slice_map = AttentionMap("slice")
        self.key_map = AttentionMap("slice", "key_slices")
        self.channels = ChannelWeights(channels, reduction)
        self.channel_map = AttentionMap("channel")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.needs_context:
            return self.gate(x, context)
        weights = self.slices(x)  # (B, C, d)
        weighted = x * self.slice_map(broadcast(weights, x))
        selected = key_slices(weights)
        self.key_map(broadcast(selected.to(x.dtype), x))
        described = self._describe(
            weighted.detach() if self.detach_descriptor else weighted, selected
        )
        return weighted * self.channel_map(broadcast(self.channels(described), x))

    def _describe(self, weighted: Tensor, selected: Tensor) -> list[Tensor]:
        """Return the mean, the maximum or both over each channel's key slices, ``(B, C)``."""
        slices = weighted.flatten(3)  # (B, C, d, N)
        pooled = []
        if self.pooling != "max":
            means = slices.mean(dim=3)
            pooled.append((means * selected).sum(dim=2) / selected.sum(dim=2))
        if self.pooling != "avg":
            lowest = torch.finfo(slices.dtype).min
            pooled.append(slices.amax(dim=3).masked_fill(~selected, lowest).amax(dim=2))
        return pooled
