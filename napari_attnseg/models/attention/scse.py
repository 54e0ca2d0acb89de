"""Concurrent spatial and channel squeeze and excitation (Roy et al. 2018, arXiv 1803.02579)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import broadcast, check_choice, conv
from napari_attnseg.models.channel_weights import ChannelWeights, pool_channels
from napari_attnseg.models.recording import AttentionMap

AGGREGATIONS = ("add", "max")


@ATTENTION.register("scse")
class ConcurrentSqueezeExcite(AttentionModule):
    """Weighs channels and voxels side by side.

    ``y = x * c + x * s`` with ``c = sigmoid(W2 relu(W1 mean(x)))``, a weight for each channel,
    and ``s = sigmoid(conv1(x))``, one for each voxel; Roy et al. 2018.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        reduction: C over the number of hidden units, of which there is at least one.
        aggregation: ``"add"``, or ``"max"``, the larger of the two at each voxel and channel.
    """

    title = "Concurrent spatial and channel SE"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("channel", "spatial")

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        reduction: int = 2,
        aggregation: str = "add",
    ) -> None:
        super().__init__()
        check_choice("aggregation", aggregation, AGGREGATIONS)
        self.aggregation = aggregation
        self.channels = ChannelWeights(channels, reduction)
        self.channel_map = AttentionMap("channel")
        self.conv = conv(dims, channels, 1, 1)
        self.gate = nn.Sigmoid()
        self.spatial_map = AttentionMap("spatial")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        by_channel = self.channel_map(broadcast(self.channels(pool_channels(x, "avg")), x))
        by_voxel = self.spatial_map(self.gate(self.conv(x)))
        if self.aggregation == "max":
            return torch.maximum(x * by_channel, x * by_voxel)
        return x * by_channel + x * by_voxel
