"""Weights of channels from one number a channel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

POOLINGS = ("avg", "max", "both")


class ChannelWeights(nn.Module):
    """``sigmoid(W2 relu(W1 z + b1) + b2)``, which adds up over several z before the sigmoid.

    Args:
        channels: C.
        reduction: C over the number of hidden units, of which there is at least one.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.act = nn.ReLU()
        self.excite = nn.Linear(hidden, channels)
        self.gate = nn.Sigmoid()

    def forward(self, pooled: list[Tensor]) -> Tensor:
        """Return ``(B, C)`` from one or more ``(B, C)``."""
        energies = [self.excite(self.act(self.squeeze(one))) for one in pooled]
        return self.gate(torch.stack(energies).sum(dim=0))


def pool_channels(x: Tensor, pooling: str) -> list[Tensor]:
    """Return the mean, the maximum or both of each channel, ``(B, C)`` each."""
    flat = x.flatten(2)
    pools: dict[str, Any] = {
        "avg": [flat.mean],
        "max": [flat.amax],
        "both": [flat.mean, flat.amax],
    }
    return [pool(dim=2) for pool in pools[pooling]]
