"""Gradients integrated along the way from a baseline to the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.explanation.contract import Work
from napari_attnseg.explanation.perturb import batches
from napari_attnseg.explanation.view import View


@dataclass(frozen=True, eq=False)
class Integral:
    """What integrated gradients give.

    Args:
        values: ``(D, H, W)``, the sum over channels.
        channels: The sum over voxels of each channel, ``(C,)``.
        score: Of the image.
        baseline: Score of the baseline.
    """

    values: Tensor
    channels: Tensor
    score: float
    baseline: float

    @property
    def error(self) -> float:
        """Return how far the map is from adding up to the difference of the scores, over it."""
        difference = self.score - self.baseline
        return abs(float(self.channels.sum()) - difference) / max(abs(difference), 1e-12)


def integral_work(view: View, steps: int) -> int:
    """Return how often `integral` yields."""
    return len(view.starts()) * (1 + len(list(batches(steps, view.batch))))


def integral(view: View, base: Tensor, steps: int) -> Work[Integral]:
    """Yield after every batch, and return ``(x - b) ∫ ∂y(b + t (x - b))/∂x dt``.

    Args:
        view: The network.
        base: The baseline b, ``(1, C, D, H, W)``.
        steps: Points t of the Gauss-Legendre rule.
    """
    nodes, shares = np.polynomial.legendre.leggauss(steps)
    at = torch.from_numpy((nodes + 1) / 2).float()[:, None, None, None, None]
    weights = torch.from_numpy(shares / 2).float()[:, None, None, None, None]
    total = torch.zeros(view.x.shape[2:])
    channels = torch.zeros(view.x.shape[1], dtype=torch.float64)
    score = baseline = 0.0
    for start in view.starts():
        inside = view.inside(start)
        x, b = (volume[(..., *inside)] for volume in (view.x, base))
        windows = torch.cat([view.cut(volume, start) for volume in (view.x, base)])
        both = [float(view.scores(start, one[None])) for one in windows]
        score, baseline = score + both[0], baseline + both[1]
        yield
        for some in batches(steps, view.batch):
            gradients, _ = view.gradients(start, b + at[some].to(b) * (x - b))
            mean = (gradients.cpu() * weights[some]).sum(dim=0)
            part = mean * (x - b)[0].cpu()  # (C, d, h, w)
            total[inside] += part.sum(dim=0)
            channels += part.double().sum(dim=(1, 2, 3))
            yield
    return Integral(total, channels, score, baseline)
