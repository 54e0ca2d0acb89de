"""Score-CAM (Wang et al., 2020, arXiv:1910.01279)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_attnseg.config import Config, setting
from napari_attnseg.explanation.contract import METHODS, TwoPassMethod, View, Work
from napari_attnseg.explanation.perturb import (
    FILLINGS,
    activation_field,
    batches,
    channels_of,
    filling,
    spread_over_input,
)

FEW = 2.0


@dataclass(frozen=True)
class Masking(Config):
    """What lies under the masks."""

    baseline: str = setting(
        "zero", help="What the image fades to where a feature is silent", choices=FILLINGS
    )


@METHODS.register("score-cam")
class ScoreCAM(TwoPassMethod):
    """Features weighted by the score of the image seen through them; no gradient is needed.

    ``H_k = A_k`` scaled to 0 to 1 over the whole volume and interpolated to its voxels,
    ``s_k = y(b + (x - b) H_k)``, ``α = softmax(s)``, ``L(u) = Σ_k α_k A_k(u)``. The paper's
    baseline b is 0, which in normalised images is the mean, not nothing.
    """

    title = "Score-CAM"
    Options = Masking

    def weights_work(self, view: View) -> int:
        count = len(list(batches(channels_of(view), view.batch)))
        return len(view.plan) + len(view.starts()) * count

    def weights(self, view: View) -> Work[Tensor]:
        field = yield from activation_field(view)
        lowest = field.amin(dim=(1, 2, 3), keepdim=True)
        spread = field.amax(dim=(1, 2, 3), keepdim=True) - lowest
        field = (field - lowest) / spread.where(spread > 0, torch.ones(()))
        scores = torch.zeros(len(field), dtype=torch.float64)
        base = filling(view, self.options.baseline)
        for start in view.starts():
            x, b = view.cut(view.x, start), view.cut(base, start)
            for some in batches(len(field), view.batch):
                masks = spread_over_input(view, field[some], start)[:, None].to(x)
                scores[some] += view.scores(start, b + (x - b) * masks)
                yield
        weights = scores.softmax(dim=0)
        self._effective = float(1 / (weights**2).sum())
        if self._effective < FEW:
            self.remarks = (
                f"The softmax of Score-CAM leaves {self._effective:.1f} of {len(weights)} "
                "features: this is about the activation of a single one.",
            )
        return weights.float()

    def facts(self) -> dict[str, Any]:
        return {"effective_channels": self._effective}
