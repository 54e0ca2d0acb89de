"""Attention gate of the Attention U-Net (Oktay et al. 2018, arXiv 1804.03999)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

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
        inner_channels: Channels in which the two are compared; half of C when None.
        subsample: Kernel and stride of theta; 2 as published, 1 compares at full resolution.
        norm: Normalisation of the output: ``"batch"`` as published, ``"instance"``, ``"group"``
            or ``"none"``.
    """

    title = "Attention gate"
    sites = ("skip",)
    default_sites = ("skip",)
    kinds = ("spatial",)
    needs_context = True

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        inner_channels: int | None = None,
        subsample: int = 2,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        inner = inner_channels or max(1, channels // 2)
        self.subsample = subsample
        self.theta = strided_conv(dims, channels, inner, subsample, bias=False)
        self.phi = conv(dims, context_channels or channels, inner, 1)
        self.act = nn.ReLU()
        self.psi = conv(dims, inner, 1, 1)
        self.gate = nn.Sigmoid()
        self.map = AttentionMap("spatial")
        self.out = conv(dims, channels, channels, 1)
        self.norm = blocks.norm(dims, norm, channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is None:
            raise ValueError("An attention gate needs the coarser map as context.")
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
