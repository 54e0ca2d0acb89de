"""HiResCAM (Draelos and Carin, 2020, arXiv:2011.08891)."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.axes import CHANNEL
from napari_attnseg.explanation.contract import METHODS, Capture, LocalMethod


@METHODS.register("hires-cam")
class HiResCAM(LocalMethod):
    """Activation times gradient at each place: what the network really used, and where.

    ``L(u) = Σ_k g_k(u) A_k(u)``. Where all that follows the layer is linear, the map adds up to
    the score without its bias.
    """

    title = "HiResCAM"

    def one_window(self, capture: Capture) -> Tensor:
        return (capture.gradients * capture.activations).sum(dim=CHANNEL, keepdim=True)
