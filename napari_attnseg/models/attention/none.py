"""No attention: the network as it is."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.sites import INPUT, SITES


@ATTENTION.register("none")
class NoAttention(AttentionModule):
    """The network as it is, to compare with."""

    title = "None"
    sites = (*SITES, INPUT)

    def __init__(
        self, channels: int, *, dims: int = 3, context_channels: int | None = None
    ) -> None:
        super().__init__()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x
