"""Dual attention (Fu et al. 2019, arXiv 1809.02983)."""

from __future__ import annotations

from torch import Tensor, nn

from napari_attnseg.models import blocks
from napari_attnseg.models.affinities import MAX_TOKENS, ChannelAffinity, PositionAffinity
from napari_attnseg.models.attention import ATTENTION, AttentionModule


@ATTENTION.register("dual")
class DualAttention(AttentionModule):
    """Adds to each voxel what voxels like it contain, and to each channel what others contain.

    ``y = x + p(x) + c(x)`` with ``p = g * V softmax(Q^T K)^T``, ``c = g' * softmax(E) x``,
    ``E = x x^T``, and g, g' learned from 0, so that it starts as the identity. With `has_head`
    each branch lies between convolutions, as published: ``y = conv1(dropout(b(x) + b'(x)))`` with
    ``b(x) = u(z + p(z))``, ``z = u'(x)``, u being a convolution of size 3, BN and ReLU;
    Fu et al. 2019.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        reduction: Channels over those of queries and keys, of which there is at least one.
        channel_energy: ``"inverted"``, as in the authors' code, where unlike channels weigh most,
            or ``"plain"``, as in the paper's equation.
        max_tokens: Most voxels that a voxel attends to; larger maps are averaged to so many, so
            that memory stays bounded.
        has_head: Whether the published convolutions, of C / 4 channels, lie around each branch.
        norm: Of these: ``"batch"`` as published, ``"instance"``, ``"group"`` or ``"none"``.
        dropout: Share of channels dropped before the last one.
    """

    title = "Dual attention"
    default_sites = ("bottleneck",)
    kinds = ("position", "affinity")

    def __init__(  # noqa: PLR0913 - options are keywords
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        reduction: int = 8,
        channel_energy: str = "inverted",
        max_tokens: int = MAX_TOKENS,
        has_head: bool = False,
        norm: str = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        inner = max(1, channels // 4) if has_head else channels
        self.positions = PositionAffinity(dims, inner, reduction=reduction, max_tokens=max_tokens)
        self.channels = ChannelAffinity(channel_energy)
        self.has_head = has_head
        if has_head:
            style = blocks.UnitStyle(norm, "relu", bias=False)
            widths = (channels, inner), (channels, inner), (inner, inner), (inner, inner)
            units = [blocks.conv_unit(dims, a, b, 3, style) for a, b in widths]
            self.before, self.after = nn.ModuleList(units[:2]), nn.ModuleList(units[2:])
            self.dropout = nn.Dropout(dropout)
            self.out = blocks.conv(dims, inner, channels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if not self.has_head:
            return x + self.positions(x) + self.channels(x)
        near, like = self.before[0](x), self.before[1](x)
        near = self.after[0](near + self.positions(near))
        like = self.after[1](like + self.channels(like))
        return self.out(self.dropout(near + like))
