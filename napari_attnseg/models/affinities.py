"""What each position, or channel, takes from the others (Fu et al. 2019, arXiv 1809.02983)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_attnseg.models.blocks import check_choice, conv
from napari_attnseg.models.positions import attend, pool_tokens
from napari_attnseg.models.recording import AttentionMap

ENERGIES = ("inverted", "plain")
MAX_TOKENS = 4096
"""Positions that each position attends to; beyond them, means of neighbours stand for them."""


class PositionAffinity(nn.Module):
    """``g * V softmax(Q^T K)^T``: each position takes from those whose key fits its query.

    Args:
        dims: 2 or 3.
        channels: C.
        reduction: C over the channels of queries and keys, of which there is at least one.
        max_tokens: Most keys and values; larger maps are averaged down to so many.
    """

    def __init__(self, dims: int, channels: int, *, reduction: int, max_tokens: int) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.max_tokens = max_tokens
        self.query = conv(dims, channels, inner, 1)
        self.key = conv(dims, channels, inner, 1)
        self.value = conv(dims, channels, channels, 1)
        self.gain = nn.Parameter(torch.zeros(1))
        self.map = AttentionMap("position", bounds=None)

    def forward(self, x: Tensor) -> Tensor:
        source = pool_tokens(x, self.max_tokens)
        query, key = self.query(x), self.key(source)
        return self.gain * attend(self.map(query, key), key, self.value(source))


class ChannelAffinity(nn.Module):
    """``g * softmax(E) X`` with ``E = X X^T``: each channel takes from the others.

    Args:
        energy: ``"inverted"``, as the authors' code has it: the softmax is that of
            ``max(E) - E``, so that unlike channels weigh most; or ``"plain"``, as their paper.
    """

    def __init__(self, energy: str) -> None:
        super().__init__()
        check_choice("channel_energy", energy, ENERGIES)
        self.energy = energy
        self.gain = nn.Parameter(torch.zeros(1))
        self.map = AttentionMap("affinity")

    def forward(self, x: Tensor) -> Tensor:
        # Sums of products over all voxels are too large for half precision.
        device = "cpu" if x.device.type == "meta" else x.device.type
        with torch.autocast(device, enabled=False):
            flat = x.flatten(2)
            flat = flat if flat.dtype == torch.float64 else flat.float()
            energy = flat @ flat.transpose(1, 2)  # (B, C, C)
            if self.energy == "inverted":
                energy = energy.amax(dim=2, keepdim=True) - energy
            weights = self.map(energy.softmax(dim=2))
            return (self.gain * (weights @ flat)).reshape(x.shape).to(x.dtype)
