"""Remove and retrain's cheaper half: take out what a map marks, fill it in, and ask again."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_attnseg.explanation.blocks import Blocks
from napari_attnseg.explanation.impute import impute
from napari_attnseg.explanation.measure import CheckedMap, Row, Work, curve, summarised

QUICK = 4
FULL = 8
"""How many fractions of the blocks are filled in."""

MOST = 0.5
"""Beyond one half, the first blocks of an order and the last ones would overlap."""


def fractions_of(checked: CheckedMap, blocks: Blocks, count: int) -> tuple[float, ...]:
    """Return fractions from half the structure's share up to one half, each so many times more.

    A structure may be a hundredth of what the network sees: tenths of all blocks would tell
    nothing about a map of it.
    """
    share = float(checked.subject.mask.mean())
    least = min(max(share / 2, 1 / max(1, len(blocks))), MOST / 2)
    return tuple(float(one) for one in np.geomspace(least, MOST, count))


def road(
    checked: CheckedMap, blocks: Blocks, order: np.ndarray, fractions: tuple[float, ...]
) -> Work[tuple[list[float], list[float]]]:
    """Return scores after filling in the first and, instead, the last fractions of an order.

    ROAD (Rong et al., 2022, arXiv:2202.00449) with blocks of a map's cells, in 3-D.
    """
    first: list[float] = []
    last: list[float] = []
    for fraction in fractions:
        count = int(np.clip(round(fraction * len(blocks)), 1, max(1, len(blocks) - 1)))
        for scores, chosen in ((first, order), (last, order[::-1])):
            gone = blocks.first(chosen, count)
            filled = impute(checked.subject.image, gone, rng=checked.rng())
            scores.append((yield from checked.score(filled)))
    return first, last


def road_rows(
    checked: CheckedMap, blocks: Blocks, rows: list[Row], fractions: tuple[float, ...]
) -> Work[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Return the value ``(last - first) / 2`` of each row, and the curves behind it."""
    bars, curves = [], []
    titles = ("filled in, fraction of the blocks", "how sure the network is")
    for row in rows:
        found = []
        for order in row.orders:
            found.append((yield from road(checked, blocks, order, fractions)))
        values = [float(np.mean(np.subtract(last, first)) / 2) for first, last in found]
        bars.append(summarised(row, values))
        for which, at in (("first", 0), ("last", 1)):
            line = curve(row, fractions, np.mean([one[at] for one in found], axis=0), *titles)
            curves.append({**line, "which": which, "title": f"{row.title}, {which}"})
    return bars, curves
