"""Ablation-CAM (Desai and Ramaswamy, 2020, doi:10.1109/WACV45572.2020.9093360)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_attnseg.config import Config, setting
from napari_attnseg.explanation.contract import METHODS, TwoPassMethod, View, Work
from napari_attnseg.explanation.perturb import activation_means, batches, channels_of


@dataclass(frozen=True)
class Ablation(Config):
    """What a feature is replaced by."""

    to: str = setting(
        "zero", help="What a feature is replaced by: 0, or its mean", choices=("zero", "mean")
    )


@METHODS.register("ablation-cam")
class AblationCAM(TwoPassMethod):
    """Features weighted by how much the score falls without them; no gradient is needed.

    ``α_k = y - y(A_k = b)``, ``L(u) = Σ_k α_k A_k(u)``, where b is 0 or the feature's mean over
    the whole volume. The paper divides by y, which only scales the map, and turns it round where
    the logit is negative.
    """

    title = "Ablation-CAM"
    Options = Ablation

    def weights_work(self, view: View) -> int:
        count = len(list(batches(channels_of(view), view.batch)))
        means = len(view.plan) if self.options.to == "mean" else 0
        return means + len(view.starts()) * (1 + count)

    def weights(self, view: View) -> Work[Tensor]:
        channels = channels_of(view)
        values = torch.zeros(channels)
        if self.options.to == "mean":
            values = yield from activation_means(view)
        drops = torch.zeros(channels, dtype=torch.float64)
        for start in view.starts():
            whole = view.scores(start, view.cut(view.x, start))
            yield
            for some in batches(channels, view.batch):

                def ablate(output: Tensor, index: int, some: list[int] = some) -> None:
                    output[:, some[index]] = values[some[index]]

                drops[some] += whole - view.changed_scores(start, len(some), ablate)
                yield
        return drops.float()
