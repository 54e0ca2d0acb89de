"""Which images of a case the evidence comes from (asked for in Project-MONAI/MONAI#3032)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from napari_attnseg.config import Config, setting
from napari_attnseg.explanation.contract import METHODS, InputMethod, Painted, View, Work
from napari_attnseg.explanation.integrate import Integral, integral, integral_work
from napari_attnseg.explanation.perturb import FILLINGS, filling


@dataclass(frozen=True)
class Modalities(Config):
    """What stands for a missing image."""

    baseline: str = setting("blurred", help="What replaces an image", choices=FILLINGS)
    steps: int = setting(16, help="Points between baseline and image", minimum=1, maximum=512)


@METHODS.register("modality")
class Modality(InputMethod):
    """Which image of a case the evidence comes from, as a table; the map is of all together.

    Each image is replaced by an image of nothing, and the fall of the score is its ``drop``;
    beside it the sum of its integrated gradients. Shares are of the sum of sizes. The map is that
    of integrated gradients.
    """

    title = "Shares of the images"
    Options = Modalities

    def work(self, view: View) -> int:
        return integral_work(view, self.options.steps) + len(view.starts()) * view.x.shape[1]

    def steps(self, view: View) -> Work[Painted]:
        base = filling(view, self.options.baseline)
        found = yield from integral(view, base, self.options.steps)
        drops = torch.full((view.x.shape[1],), found.score, dtype=torch.float64)
        for channel in range(len(drops)):
            without = view.x.clone()
            without[:, channel] = base[:, channel]
            for start in view.starts():
                drops[channel] -= view.scores(start, view.cut(without, start))[0]
                yield
        rows = _rows(drops, found)
        remarks: tuple[str, ...] = ()
        if len(rows) == 1:
            remarks = ("A case has one image here, so all evidence comes from it.",)
        facts = {"modalities": rows, "completeness_error": found.error, "score": found.score}
        return Painted(found.values, facts, remarks)


def _rows(drops: torch.Tensor, found: Integral) -> list[dict[str, Any]]:
    columns = {"drop": drops, "gradients": found.channels}
    shares = {name: one.abs() / one.abs().sum().clamp(min=1e-12) for name, one in columns.items()}
    return [
        {
            "name": str(channel),
            **{name: float(one[channel]) for name, one in columns.items()},
            **{f"{name}_share": float(one[channel]) for name, one in shares.items()},
        }
        for channel in range(len(drops))
    ]
