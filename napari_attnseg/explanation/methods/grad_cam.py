"""Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391), for segmentation as in Seg-Grad-CAM."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.axes import SPATIAL
from napari_attnseg.explanation.contract import METHODS, Capture, WeightedMethod


@METHODS.register("grad-cam")
class GradCAM(WeightedMethod):
    """Features weighted by their mean gradient: which features matter, shown wherever they occur.

    ``α_k = (1/N) Σ_u g_k(u)``, ``L(u) = Σ_k α_k A_k(u)``. The ReLU of the paper is left to the
    display, so that evidence against the class is not lost.
    """

    title = "Grad-CAM"

    def sums(self, capture: Capture) -> Tensor:
        return capture.gradients.sum(dim=SPATIAL)  # (1, C)

    def channel_weights(self, sums: Tensor, voxels: int) -> Tensor:
        return sums[0] / voxels
