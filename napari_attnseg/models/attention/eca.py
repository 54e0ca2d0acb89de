"""Efficient channel attention (Wang et al. 2020, arXiv 1910.03151)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import broadcast
from napari_attnseg.models.recording import AttentionMap


@ATTENTION.register("eca")
class EfficientChannelAttention(AttentionModule):
    """Weighs each channel by the means of its neighbouring channels.

    ``y = x * sigmoid(conv(mean(x)))`` with a convolution over k channels, k being the odd number
    next to ``(log2(C) + 1) / 2``; Wang et al. 2020.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        kernel: Odd number of channels that the convolution sees; as above when None.
    """

    title = "Efficient channel attention"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("channel",)

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        kernel: int | None = None,
    ) -> None:
        super().__init__()
        size = kernel or _kernel(channels)
        if size % 2 == 0:
            raise ValueError(f"kernel is {size}; it must be odd.")
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.gate = nn.Sigmoid()
        self.map = AttentionMap("channel")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        means = x.flatten(2).mean(dim=2)  # (B, C)
        weights = self.gate(self.conv(means.unsqueeze(1)))[:, 0]  # (B, C)
        return x * self.map(broadcast(weights, x))


def _kernel(channels: int) -> int:
    size = int((math.log2(channels) + 1) / 2)
    return size if size % 2 else size + 1
