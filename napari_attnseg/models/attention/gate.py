"""Attention gate of the Attention U-Net (Oktay et al. 2018, arXiv 1804.03999)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL
from napari_attnseg.models import blocks
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import conv, resize, strided_conv
from napari_attnseg.models.recording import AttentionMap


@ATTENTION.register("gate")
class AttentionGate(AttentionModule):
    """Lets through a skip connection what the coarser level finds relevant.

    ``a = sigmoid(psi(relu(theta(x) + phi(g))))`` on the grid of ``theta(x)``, resized linearly to
    that of x, and ``y = BN(W(a * x))``; Oktay et al. 2018.

    Args:
        channels: C of the skip x.
        dims: 2 or 3.
        context_channels: Channels of the coarser map g; as x when None.
        inner_channels: Channels in which the two are compared; C over `reduction` when None.
        reduction: See there.
        subsample: Kernel and stride of theta; 2 as published, 1 compares at full resolution.
        norm: Normalisation of the output: ``"batch"`` as published, ``"instance"``, ``"group"``
            or ``"none"``.
        gates: Gates side by side, each with weights of its own.
        has_combination: Whether ``relu(norm(conv1(...)))`` joins what they let through; None is
            for more than one gate.
    """

    title = "Attention gate"
    sites = ("skip",)
    default_sites = ("skip",)
    kinds = ("spatial",)
    needs_context = True

    def __init__(  # noqa: PLR0913 - options are keywords
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        inner_channels: int | None = None,
        reduction: int = 2,
        subsample: int = 2,
        norm: str = "batch",
        gates: int = 1,
        has_combination: bool | None = None,
    ) -> None:
        super().__init__()
        if gates < 1 or (gates > 1 and has_combination is False):
            raise ValueError(f"gates is {gates}; several are combined, and one is the least.")
        inner = inner_channels or max(1, channels // reduction)
        self.subsample = subsample
        self.theta = strided_conv(dims, channels, inner, subsample, bias=False)
        self.phi = conv(dims, context_channels or channels, inner, 1)
        self.act = nn.ReLU()
        self.psi = conv(dims, inner, 1, 1)
        self.gate = nn.Sigmoid()
        self.map = AttentionMap("spatial")
        self.out = conv(dims, channels, channels, 1)
        self.norm = blocks.norm(dims, norm, channels)
        settings: dict[str, Any] = {
            "dims": dims,
            "context_channels": context_channels,
            "inner_channels": inner,
            "subsample": subsample,
            "norm": norm,
        }
        self.others = nn.ModuleList(AttentionGate(channels, **settings) for _ in range(gates - 1))
        for index, one in enumerate(self.others, start=2):
            one.map = AttentionMap("spatial", f"spatial{index}")
        style = blocks.UnitStyle(norm, "relu")
        is_combined = gates > 1 if has_combination is None else has_combination
        self.combination = (
            blocks.conv_unit(dims, gates * channels, channels, 1, style)
            if is_combined
            else nn.Identity()
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is None:
            raise ValueError("An attention gate needs the coarser map as context.")
        passed = [self._pass(x, context), *(one(x, context) for one in self.others)]
        return self.combination(torch.cat(passed, dim=CHANNEL))

    def _pass(self, x: Tensor, context: Tensor) -> Tensor:
        skip = self.theta(self._at_least_one_step(x))
        compared = self.act(skip + resize(self.phi(context), skip.shape[2:]))
        weights = resize(self.gate(self.psi(compared)), x.shape[2:])  # (B, 1, d, h, w)
        return self.norm(self.out(x * self.map(weights)))

    def _at_least_one_step(self, x: Tensor) -> Tensor:
        missing = [max(0, self.subsample - size) for size in x.shape[2:]]
        if not any(missing):
            return x
        pads = [pad for short in reversed(missing) for pad in (0, short)]
        return F.pad(x, pads, mode="replicate")
