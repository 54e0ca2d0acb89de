"""XGrad-CAM (Fu et al., 2020, arXiv:2008.02312), whose weights are those of Respond-CAM."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_attnseg.axes import SPATIAL
from napari_attnseg.explanation.contract import (
    METHODS,
    Capture,
    WeightedMethod,
    activation_sums,
)

CANCELLED = 0.01
"""Of a feature's size: a sum below it is the difference of much larger numbers."""


@METHODS.register("xgrad-cam")
class XGradCAM(WeightedMethod):
    """Features weighted so that the map adds up to what HiResCAM's does.

    ``α_k = Σ_u g_k(u) A_k(u) / Σ_u A_k(u)``, ``L(u) = Σ_k α_k A_k(u)``.
    """

    title = "XGrad-CAM"
    needs_everywhere = True

    def sums(self, capture: Capture) -> Tensor:
        products = (capture.gradients * capture.activations).sum(dim=SPATIAL)[0]
        sizes = (capture.activations[0].abs() * capture.weights).sum(dim=(1, 2, 3))
        return torch.stack([products, activation_sums(capture), sizes])  # (3, C)

    def channel_weights(self, sums: Tensor, voxels: int) -> Tensor:
        products, totals, sizes = sums
        cancelled = int((totals.abs() < CANCELLED * sizes).sum())
        if cancelled:
            self.remarks = (
                f"In {cancelled} of {len(totals)} features positive and negative values nearly "
                "cancel, and XGrad-CAM divides by what is left; HiResCAM does not.",
            )
        is_there = totals != 0
        return torch.where(is_there, products / totals.where(is_there, torch.ones(())), 0.0)
