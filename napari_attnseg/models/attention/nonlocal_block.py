"""Non-local block (Wang et al. 2018, arXiv 1711.07971)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from napari_attnseg.models import blocks
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import conv
from napari_attnseg.models.positions import attend, pool_tokens
from napari_attnseg.models.recording import AttentionMap

MAX_TOKENS = 4096


@ATTENTION.register("nonlocal")
class NonLocal(AttentionModule):
    """Adds to each voxel a mean over all voxels, weighted by how they fit it.

    ``y = x + BN(W(softmax(theta(x)^T phi(x)) g(x)))``, the embedded Gaussian form, whose last
    weights start at 0, so that it starts as the identity; Wang et al. 2018.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        inner_channels: Channels of theta, phi and g; half of C when None.
        max_tokens: Most voxels that a voxel attends to; larger maps are averaged to so many, so
            that memory stays bounded.
        norm: ``"batch"`` as published, ``"instance"``, ``"group"`` or ``"none"``.
    """

    title = "Non-local block"
    default_sites = ("bottleneck",)
    kinds = ("position",)

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        inner_channels: int | None = None,
        max_tokens: int = MAX_TOKENS,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        inner = inner_channels or max(1, channels // 2)
        self.max_tokens = max_tokens
        self.theta = conv(dims, channels, inner, 1)
        self.phi = conv(dims, channels, inner, 1)
        self.values = conv(dims, channels, inner, 1)
        self.map = AttentionMap("position", bounds=None)
        self.out = conv(dims, inner, channels, 1)
        self.norm = blocks.norm(dims, norm, channels)
        last: Any = self.out if norm == "none" else self.norm
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = pool_tokens(x, self.max_tokens)
        query, key = self.theta(x), self.phi(source)
        attended = attend(self.map(query, key), key, self.values(source))
        return x + self.norm(self.out(attended))
