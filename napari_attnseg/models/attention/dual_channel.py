"""Channel attention of the dual attention network (Fu et al. 2019, arXiv 1809.02983)."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.models.affinities import ChannelAffinity
from napari_attnseg.models.attention import ATTENTION, AttentionModule


@ATTENTION.register("dual-channel")
class DualChannelAttention(AttentionModule):
    """Adds to each channel what the others contain.

    ``y = x + g * softmax(E) x`` with ``E = x x^T`` and g learned from 0, so that it starts as the
    identity; Fu et al. 2019.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        channel_energy: ``"inverted"``, as in the authors' code, where unlike channels weigh most,
            or ``"plain"``, as in the paper's equation.
    """

    title = "Dual attention, channels"
    default_sites = ("bottleneck",)
    kinds = ("affinity",)

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        channel_energy: str = "inverted",
    ) -> None:
        super().__init__()
        self.channels = ChannelAffinity(channel_energy)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x + self.channels(x)
