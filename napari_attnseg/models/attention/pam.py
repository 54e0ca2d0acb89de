"""Progressive attention module (Zhang et al. 2022, doi 10.1002/mp.15369)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import broadcast
from napari_attnseg.models.recording import AttentionMap
from napari_attnseg.models.slice_weights import key_slices
from napari_attnseg.models.slices_and_channels import SlicesAndChannels


@ATTENTION.register("pam")
class ProgressiveAttention(SlicesAndChannels):
    """Weighs the slices of each channel, then channels by what their key slices contain.

    ``x' = x * w`` as in `napari_attnseg.models.slice_weights.SliceWeights`; slices with
    ``softmax(w) >= mean(softmax(w))`` are key slices; ``y = x' * sigmoid(W2 relu(W1 z))``, where
    z_c is the mean of x' over the key slices of channel c; Zhang et al. 2022. The choice of key
    slices has no gradient.

    Args:
        channels: C.
        dims: 3; in 2 dimensions rows are taken for slices.
        context_channels: Channels of the coarser map, with `has_skip_gate`.
        detach_descriptor: Whether no gradient flows through z, as in the published code.
        has_skip_gate: Whether an attention gate stands in for this module on skips.
        **options: Those of `SlicesAndChannels`.
    """

    title = "Progressive attention"
    kinds = ("slice", "channel")

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        detach_descriptor: bool = False,
        has_skip_gate: bool = False,
        **options: Any,
    ) -> None:
        if has_skip_gate and context_channels is not None:
            AttentionModule.__init__(self)
            self.needs_context = True
            self.gate = ATTENTION["gate"](channels, dims=dims, context_channels=context_channels)
            return
        super().__init__(channels, **options)
        self.detach_descriptor = detach_descriptor
        self.key_map = AttentionMap("slice", "key_slices")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.needs_context:
            return self.gate(x, context)
        if not self.has_slices:
            return self.weigh_channels(x)
        weighted, weights = self.weigh_slices(x)
        selected = key_slices(weights)
        self.key_map(broadcast(selected.to(x.dtype), x))
        seen = weighted.detach() if self.detach_descriptor else weighted
        return self.weigh_channels(weighted, self._describe(seen, selected))

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
