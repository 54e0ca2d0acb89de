"""LayerCAM (Jiang et al., 2021, doi:10.1109/TIP.2021.3089943)."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.axes import CHANNEL
from napari_attnseg.explanation.contract import METHODS, Capture, LocalMethod


@METHODS.register("layer-cam")
class LayerCAM(LocalMethod):
    """Activation times positive gradient at each place: only what speaks for the class.

    ``L(u) = Σ_k relu(g_k(u)) A_k(u)``. The last ReLU of the paper is left to the display.
    """

    title = "LayerCAM"

    def one_window(self, capture: Capture) -> Tensor:
        products = capture.gradients.relu() * capture.activations
        return products.sum(dim=CHANNEL, keepdim=True)
