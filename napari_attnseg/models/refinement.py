"""Refinement by dual attention that semantic codes guide (Sinha and Dolz 2020, 1906.02849)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.models import blocks
from napari_attnseg.models.affinities import ChannelAffinity, PositionAffinity
from napari_attnseg.models.encoders.layers import ONE, conv

REDUCTION = 8
"""Channels over those of queries and keys."""


@dataclass(frozen=True)
class Look:
    """How the maps of all scales are refined.

    Args:
        dims: 2 or 3.
        width: Channels of each scale.
        has_whole: Whether each scale sees what all scales together are.
        has_codes: Whether an auto-encoder guides what is found.
        kernel: Of convolutions.
        pools: Strides of the auto-encoder.
        norm: See `napari_attnseg.models.blocks.norm`.
        channel_energy: See `napari_attnseg.models.affinities.ChannelAffinity`.
        max_tokens: Most voxels that a voxel attends to.
    """

    dims: int
    width: int
    has_whole: bool
    has_codes: bool
    kernel: Size
    pools: tuple[Size, Size]
    norm: str
    channel_energy: str
    max_tokens: int

    @property
    def joined(self) -> int:
        """Channels of a scale with what all scales together are."""
        return self.width * (2 if self.has_whole else 1)


@dataclass
class Refined:
    """What one step made of each scale.

    Args:
        maps: Refined, with the width of a scale.
        joined: What was looked at.
        codes: What the auto-encoder made of that; none without one.
        rebuilt: What it made of the codes.
    """

    maps: list[Tensor]
    joined: list[Tensor]
    codes: list[Tensor]
    rebuilt: list[Tensor]


class Refinement(nn.Module):
    """One step: attention in each scale, under a mask that one auto-encoder makes for all."""

    def __init__(self, look: Look, scales: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([DualBranch(look) for _ in range(scales)])
        width = look.width
        self.out = nn.ModuleList(
            [conv(look.dims, width, width, ONE, bias=True) for _ in range(scales)]
        )
        self.coder: nn.Module | None = None
        self.masks = nn.ModuleList()
        if look.has_codes:
            self.coder = AutoEncoder(look)
            for _ in range(scales):
                self.masks.append(conv(look.dims, look.joined, width, look.kernel, bias=True))

    def forward(self, maps: Sequence[Tensor], whole: Sequence[Tensor | None]) -> Refined:
        """Return the refined maps.

        Args:
            maps: Of each scale, ``(B, C, d, h, w)`` of one size.
            whole: What each scale sees of all of them; None is nothing.
        """
        found = Refined([], [], [], [])
        for index, (one, seen) in enumerate(zip(maps, whole, strict=True)):
            joined = one if seen is None else torch.cat([one, seen], dim=CHANNEL)
            attended = self.attentions[index](joined)
            if self.coder is not None:
                code, rebuilt = self.coder(joined)
                attended = attended * self.masks[index](rebuilt)
                found.codes.append(code)
                found.rebuilt.append(rebuilt)
            found.joined.append(joined)
            found.maps.append(self.out[index](attended))
        return found


class DualBranch(nn.Module):
    """Position and channel attention beside each other, each between two convolutions."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        dims, width, norm = look.dims, look.width, look.norm
        self.near = unit(dims, look.joined, width, look.kernel, norm)
        self.like = unit(dims, look.joined, width, look.kernel, norm)
        self.positions = PositionAffinity(
            dims, width, reduction=REDUCTION, max_tokens=look.max_tokens
        )
        self.channels = ChannelAffinity(look.channel_energy)
        self.near_out = unit(dims, width, width, look.kernel, norm)
        self.like_out = unit(dims, width, width, look.kernel, norm)

    def forward(self, x: Tensor) -> Tensor:
        near, like = self.near(x), self.like(x)
        near = self.near_out(near + self.positions(near))
        return near + self.like_out(like + self.channels(like))


class AutoEncoder(nn.Module):
    """Makes a code of a map, and the map again of the code."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        dims, width, (first, second) = look.dims, look.joined, look.pools
        self.encoder = nn.Sequential(
            self._pair(look, width, 2 * width),
            blocks.max_pool(dims, first),
            self._pair(look, 2 * width, 4 * width),
            blocks.max_pool(dims, second),
        )
        self.decoder = nn.Sequential(
            self._pair(look, 4 * width, 2 * width),
            blocks.up_conv(dims, 2 * width, 2 * width, second),
            self._pair(look, 2 * width, width),
            blocks.up_conv(dims, width, width, first),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code and the map that is made of it."""
        code = self.encoder(x)
        return code, self.decoder(code)

    @staticmethod
    def _pair(look: Look, channels: int, out: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inside in (channels, out):
            start = conv(look.dims, inside, out, look.kernel, bias=True)
            layers += [start, blocks.norm(look.dims, look.norm, out), nn.ReLU()]
        return nn.Sequential(*layers)


def unit(dims: int, channels: int, out: int, kernel: Size, norm: str) -> nn.Sequential:
    """Return a convolution with its normalisation and a PReLU of one slope."""
    start = conv(dims, channels, out, kernel, bias=True)
    return nn.Sequential(start, blocks.norm(dims, norm, out), nn.PReLU())


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the sum over scales of the mean squared difference."""
    return torch.stack([F.mse_loss(x, y) for x, y in zip(a, b, strict=True)]).sum()
