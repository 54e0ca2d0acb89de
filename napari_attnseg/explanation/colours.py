"""Colours of maps in pictures: signed ones around zero, others from nothing up.

Zero, and the foot of unsigned maps, are clear, so that the anatomy shows where a map says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_SIDES = np.array([
    # place, red, green, blue, opacity
    [0.0000, 0.88, 0.75, 1.00, 1.00],
    [0.2500, 0.62, 0.36, 0.98, 0.90],
    [0.4400, 0.62, 0.36, 0.98, 0.45],
    [0.4999, 0.62, 0.36, 0.98, 0.00],
    [0.5001, 0.30, 0.80, 0.25, 0.00],
    [0.5600, 0.30, 0.80, 0.25, 0.45],
    [0.7500, 0.30, 0.80, 0.25, 0.90],
    [1.0000, 0.85, 1.00, 0.60, 1.00],
])  # fmt: skip
SIGNED = np.stack(
    [np.interp(np.linspace(0, 1, 257), _SIDES[:, 0], one) for one in _SIDES[:, 1:].T], axis=-1
)
"""Violet speaks against, green for, as in the window; faint values keep the hue of their side."""

UNSIGNED = np.array([
    [0.00, 0.00, 0.02, 0.00],
    [0.34, 0.06, 0.43, 0.60],
    [0.73, 0.22, 0.33, 0.80],
    [0.98, 0.56, 0.04, 0.95],
    [0.99, 1.00, 0.64, 1.00],
])  # fmt: skip
"""Inferno, whose lightness grows evenly."""


@dataclass(frozen=True, eq=False)
class Colours:
    """From values to colours.

    Args:
        low: Value of the first colour.
        high: Value of the last one.
        table: Colours at even steps, ``(n, 4)``, red, green, blue and opacity from 0 to 1.
    """

    low: float
    high: float
    table: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return ``(..., 4)``; what is not finite is clear."""
        part = np.clip((np.asarray(values, np.float64) - self.low) / (self.high - self.low), 0, 1)
        steps = np.linspace(0, 1, len(self.table))
        known = np.nan_to_num(part)
        found = np.stack([np.interp(known, steps, column) for column in self.table.T], axis=-1)
        found[..., 3] *= np.isfinite(part)
        return found


def colours_for(values: np.ndarray, info: Mapping[str, Any]) -> Colours:
    """Return colours of a map: limits are set for the whole volume, and no value is changed.

    A map with negative values is signed, with limits alike on both sides. One with ``bounds``,
    such as a gate, is shown within them. Others go from 0 to their largest value.

    Args:
        values: Of the whole map.
        info: Its record.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low < 0:
        top = max(-low, high)
        return Colours(-top, top, SIGNED)
    bounds = info.get("bounds")
    if bounds:
        return Colours(float(bounds[0]), float(bounds[1]), UNSIGNED)
    return Colours(0.0, high or 1.0, UNSIGNED)
