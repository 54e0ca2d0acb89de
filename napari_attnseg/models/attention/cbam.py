"""Convolutional block attention module (Woo et al. 2018, arXiv 1807.06521)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, spatial_axes
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import conv, norm
from napari_attnseg.models.recording import AttentionMap


@ATTENTION.register("cbam")
class ConvolutionalBlockAttention(AttentionModule):
    """Weighs channels, then voxels, by their means and maxima.

    ``x' = x * sigmoid(MLP(mean(x)) + MLP(max(x)))``, then
    ``y = x' * sigmoid(BN(conv([max_C(x'); mean_C(x')])))``, Woo et al. 2018.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        reduction: C over the number of hidden units, of which there is at least one.
        kernel: Odd size of the spatial convolution.
        has_spatial: Whether voxels are weighed too.
    """

    title = "CBAM"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("channel", "spatial")

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        reduction: int = 16,
        kernel: int = 7,
        has_spatial: bool = True,
    ) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.act = nn.ReLU()
        self.excite = nn.Linear(hidden, channels)
        self.channel_gate = nn.Sigmoid()
        self.channel_map = AttentionMap("channel")
        self.has_spatial = has_spatial
        if has_spatial:
            self.conv = conv(dims, 2, 1, kernel, bias=False)
            self.norm = norm(dims, "batch", 1)
            self.spatial_gate = nn.Sigmoid()
            self.spatial_map = AttentionMap("spatial")
        self.spatial = spatial_axes(dims)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        energy = self._energy(x.mean(dim=self.spatial)) + self._energy(x.amax(dim=self.spatial))
        weights = self.channel_gate(energy)  # (B, C)
        x = x * self.channel_map(weights.reshape(*weights.shape, *[1] * len(self.spatial)))
        if not self.has_spatial:
            return x
        extremes = torch.cat(
            [x.amax(dim=CHANNEL, keepdim=True), x.mean(dim=CHANNEL, keepdim=True)], dim=CHANNEL
        )
        return x * self.spatial_map(self.spatial_gate(self.norm(self.conv(extremes))))

    def _energy(self, pooled: Tensor) -> Tensor:
        return self.excite(self.act(self.squeeze(pooled)))
