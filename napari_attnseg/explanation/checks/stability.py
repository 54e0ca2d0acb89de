"""Does the same image, mirrored or with a little noise, get the same map?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.likeness import spearman
from napari_attnseg.explanation.measure import MEASURES, CheckedMap, Measure, Result, Work

NOISE = 0.05
"""Standard deviation of the noise, over that of each channel."""
NOISES = 2
AXES = ("D", "H", "W")


@MEASURES.register("stability")
class Stability(Measure):
    """Rank correlation of the map with that of the mirrored, or of the noisy image.

    A network that never saw mirrored images may rightly answer otherwise; noise should do little.
    """

    title = "Stable"

    def windows(self, checked: CheckedMap) -> int:
        return (len(_mirrored_axes(checked)) + NOISES) * checked.remake_windows

    def steps(self, checked: CheckedMap) -> Work[Result]:
        bars: list[dict[str, Any]] = []
        for axis in _mirrored_axes(checked):
            x, region = checked.subject.x.flip(2 + axis), checked.subject.region.flip(axis)
            again = yield from checked.remake(checked.subject.model, x, region)
            value = _alike(checked, again, mirrored=axis)
            bars.append(_bar(f"mirrored along {AXES[axis]}", value))
        generator = torch.Generator().manual_seed(checked.seed)
        for _ in range(NOISES):
            x = _noisy(checked.subject.x, generator)
            again = yield from checked.remake(checked.subject.model, x, checked.subject.region)
            bars.append(_bar("with noise", _alike(checked, again)))
        found = [bar["value"] for bar in bars if bar["value"] is not None]
        value = float(np.mean(found)) if found else None
        return Result(value, _sentence(bars), bars, [], {"noise": NOISE})


def _mirrored_axes(checked: CheckedMap) -> list[int]:
    return [axis for axis in range(3) if checked.shape[axis] > 1]


def _noisy(x: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(x.shape, generator=generator)
    return x + NOISE * x.std(dim=(0, 2, 3, 4), keepdim=True) * noise.to(x)


def _alike(checked: CheckedMap, again: Heat, mirrored: int | None = None) -> float | None:
    """Return the rank correlation over the cells around the region."""
    cells = checked.blocks().cells
    places = checked.heat.places().reshape(-1, 3)[cells]
    if mirrored is not None:
        # The cells of a mirrored image need not lie opposite those of the image.
        places[:, mirrored] = checked.shape[mirrored] - 1 - places[:, mirrored]
    return spearman(checked.heat.values.reshape(-1)[cells], again.between(places))


def _bar(title: str, value: float | None) -> dict[str, Any]:
    return {"name": "map", "title": title, "value": value, "spread": None}


def _sentence(bars: list[dict[str, Any]]) -> str:
    def mean(which: str) -> str:
        values = [one["value"] for one in bars if one["title"].startswith(which)]
        known = [one for one in values if one is not None]
        return f"{np.mean(known):.2f}" if known else "–"

    return (
        f"Rank correlation {mean('mirrored')} with the map of the mirrored image, "
        f"{mean('with noise')} with that of the image with {100 * NOISE:.0f} % noise."
    )
