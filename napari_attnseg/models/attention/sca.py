"""Slice, then channel attention (Zhang et al. 2022, doi 10.1002/mp.15369)."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.slices_and_channels import SlicesAndChannels


@ATTENTION.register("sca")
class SliceChannelAttention(SlicesAndChannels):
    """Weighs the slices of each channel, then channels.

    ``x' = x * w(x)``, then ``y = x' * c(x')``, with c as in squeeze and excitation and w as in
    `napari_attnseg.models.slice_weights.SliceWeights`; Zhang et al. 2022. Options are those of
    `SlicesAndChannels`.
    """

    title = "Slice, then channel attention"
    kinds = ("slice", "channel")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.weigh_channels(self.weigh_slices(x)[0])
