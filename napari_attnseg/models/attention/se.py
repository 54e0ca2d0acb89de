"""Squeeze and excitation (Hu et al. 2018, arXiv 1709.01507)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_attnseg.axes import spatial_axes
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import check_choice
from napari_attnseg.models.recording import AttentionMap

POOLINGS = ("avg", "max", "both")


@ATTENTION.register("se")
class SqueezeExcite(AttentionModule):
    """Weighs each channel by what all channels contain on the whole.

    ``y = x * sigmoid(W2 relu(W1 mean(x)))``, Hu et al. 2018.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        reduction: C over the number of hidden units, of which there is at least one.
        bias: Whether the two linear layers have a bias.
        pooling: ``"avg"``, ``"max"``, or ``"both"``, which adds the outputs of the layers for
            the mean and the maximum before the sigmoid.
    """

    title = "Squeeze and excitation"
    default_sites = ("encoder", "bottleneck", "decoder")
    kinds = ("channel",)

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        reduction: int = 16,
        bias: bool = False,
        pooling: str = "avg",
    ) -> None:
        super().__init__()
        check_choice("pooling", pooling, POOLINGS)
        hidden = max(1, channels // reduction)
        self.pooling = pooling
        self.squeeze = nn.Linear(channels, hidden, bias=bias)
        self.act = nn.ReLU()
        self.excite = nn.Linear(hidden, channels, bias=bias)
        self.gate = nn.Sigmoid()
        self.map = AttentionMap("channel")
        self.spatial = spatial_axes(dims)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        energies = [self.excite(self.act(self.squeeze(pooled))) for pooled in self._pool(x)]
        weights = self.gate(torch.stack(energies).sum(dim=0))  # (B, C)
        return x * self.map(weights.reshape(*weights.shape, *[1] * len(self.spatial)))

    def _pool(self, x: Tensor) -> list[Tensor]:
        pools: dict[str, Any] = {"avg": x.mean, "max": x.amax}
        names = ("avg", "max") if self.pooling == "both" else (self.pooling,)
        return [pools[name](dim=self.spatial) for name in names]
