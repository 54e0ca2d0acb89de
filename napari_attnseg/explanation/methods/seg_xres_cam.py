"""Seg-XRes-CAM (Hasany et al., 2023, doi:10.1109/CVPRW59228.2023.00395)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.axes import CHANNEL
from napari_attnseg.config import Config, setting
from napari_attnseg.explanation.contract import (
    METHODS,
    Capture,
    FieldMethod,
    Painted,
    View,
    Work,
    add_up,
)


@dataclass(frozen=True)
class Pooling(Config):
    """How far the gradient is pooled."""

    window: int = setting(
        4, help="Cells of the layer along each axis; 1 is HiResCAM, all are Grad-CAM", minimum=1
    )
    pooling: str = setting("mean", help="Of the gradient in each block", choices=("mean", "max"))


@METHODS.register("seg-xres-cam")
class SegXResCAM(FieldMethod):
    """Between HiResCAM and Grad-CAM: activations times the gradient pooled over blocks of cells.

    ``L(u) = Σ_k pool_w(g_k)(u) A_k(u)``, where each cell has the pooled value of its block. Blocks
    are counted from the corner of the whole volume, whatever windows it is seen through.
    """

    title = "Seg-XRes-CAM"
    Options = Pooling

    def work(self, view: View) -> int:
        return len(view.starts()) if self.options.window == 1 else super().work(view)

    def steps(self, view: View) -> Work[Painted]:
        # A block of one cell pools nothing, so that maps of windows add up as they are.
        return add_up(view, _products) if self.options.window == 1 else super().steps(view)

    def field_weights(self, gradients: Tensor, activations: Tensor, lowest: float) -> Tensor:
        d, h, w = gradients.shape[1:]
        kernel = [min(self.options.window, n) for n in (d, h, w)]
        if self.options.pooling == "max":
            pooled = F.max_pool3d(gradients, kernel, ceil_mode=True)
        else:
            pooled = F.avg_pool3d(gradients, kernel, ceil_mode=True, count_include_pad=False)
        for axis, times in enumerate(kernel, start=1):
            pooled = pooled.repeat_interleave(times, dim=axis)
        return pooled[:, :d, :h, :w]


def _products(capture: Capture) -> Tensor:
    return (capture.gradients * capture.activations).sum(dim=CHANNEL, keepdim=True)
