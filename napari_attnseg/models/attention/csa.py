"""Channel, then slice attention (Zhang et al. 2022, doi 10.1002/mp.15369)."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.slices_and_channels import SlicesAndChannels


@ATTENTION.register("csa")
class ChannelSliceAttention(SlicesAndChannels):
    """Weighs channels, then the slices of each channel.

    ``x' = x * c(x)``, then ``y = x' * w(x')``, with c as in squeeze and excitation and w as in
    `napari_attnseg.models.slice_weights.SliceWeights`; Zhang et al. 2022. Options are those of
    `SlicesAndChannels`.
    """

    title = "Channel, then slice attention"
    kinds = ("channel", "slice")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.weigh_slices(self.weigh_channels(x))[0]
