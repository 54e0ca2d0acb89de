"""Split attention (Zhang et al. 2020, arXiv 2004.08955)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from napari_attnseg.models import blocks
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import broadcast
from napari_attnseg.models.recording import AttentionMap


@ATTENTION.register("split")
class SplitAttention(AttentionModule):
    """Convolves in several ways, and weighs for each channel which of them passes.

    ``u = relu(BN(conv3(x)))`` has R parts of C channels, and ``y = sum_r a_r * u_r`` with
    ``a = softmax_r(conv1(relu(BN(conv1(mean(sum_r u_r))))))``, a sigmoid where R is 1;
    ResNeSt, Zhang et al. 2020.

    Args:
        channels: C, a multiple of `cardinality`.
        dims: 2 or 3.
        context_channels: Unused.
        radix: R.
        cardinality: Groups of channels that do not mix.
        reduction: ``C * R`` over the number of hidden channels.
        min_channels: Fewest hidden channels.
        norm: ``"batch"`` as published, ``"instance"``, ``"group"`` or ``"none"``.
    """

    title = "Split attention"
    default_sites = ("encoder", "bottleneck")
    kinds = ("radix",)

    def __init__(  # noqa: PLR0913 - options are keywords
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        radix: int = 2,
        cardinality: int = 1,
        reduction: int = 4,
        min_channels: int = 32,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        if channels % cardinality:
            raise ValueError(f"cardinality is {cardinality}, which does not divide {channels}.")
        self.radix, self.cardinality = radix, cardinality
        hidden = max(channels * radix // reduction, min_channels)
        hidden -= hidden % cardinality
        self.conv = _grouped(dims, channels, channels * radix, 3, radix * cardinality, bias=False)
        self.norm = blocks.norm(dims, norm, channels * radix)
        self.squeeze = _grouped(dims, channels, hidden, 1, cardinality)
        self.squeeze_norm = blocks.norm(dims, norm, hidden)
        self.excite = _grouped(dims, hidden, channels * radix, 1, cardinality)
        self.act = nn.ReLU()
        self.gate = nn.Softmax(dim=1) if radix > 1 else nn.Sigmoid()
        self.map = AttentionMap("radix")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        features = self.act(self.norm(self.conv(x)))
        parts = features.unflatten(1, (self.radix, -1))  # (B, R, C, d, h, w)
        whole = parts.sum(dim=1)
        mean = broadcast(whole.flatten(2).mean(dim=2), x)  # (B, C, 1, 1, 1)
        energy = self.excite(self.act(self.squeeze_norm(self.squeeze(mean)))).flatten(1)
        # The groups of the last convolution hold the parts of their own channels.
        by_group = energy.unflatten(1, (self.cardinality, self.radix, -1))
        weights = self.map(self.gate(by_group.transpose(1, 2).flatten(2)))  # (B, R, C)
        return (parts * broadcast(weights, parts)).sum(dim=1)


def _grouped(
    dims: int, channels: int, out: int, kernel: int, groups: int, *, bias: bool = True
) -> nn.Module:
    """Return a convolution in so many groups, or as many of them as divide its channels."""
    layer = nn.Conv3d if dims == 3 else nn.Conv2d
    groups = math.gcd(channels, out, groups)
    return layer(channels, out, kernel, padding=kernel // 2, groups=groups, bias=bias)
