"""How maps are coloured: signed ones around zero, gates from nothing to everything."""

from __future__ import annotations

import numpy as np
from napari.utils.colormaps import Colormap

from napari_attnseg.volume import Volume

SIGNED = Colormap(
    [
        [0.45, 0.85, 1.0, 1.0],
        [0.13, 0.47, 0.90, 0.9],
        [0.10, 0.25, 0.60, 0.0],
        [0.90, 0.42, 0.10, 0.9],
        [1.0, 0.86, 0.35, 1.0],
    ],
    name="attnseg signed",
    display_name="against, for",
    controls=[0.0, 0.25, 0.5, 0.75, 1.0],
)
"""Blue speaks against, orange for; zero is clear, so that the anatomy is never hidden by it."""

UNSIGNED = Colormap(
    [
        [0.0, 0.0, 0.02, 0.0],
        [0.34, 0.06, 0.43, 0.6],
        [0.73, 0.22, 0.33, 0.8],
        [0.98, 0.56, 0.04, 0.95],
        [0.99, 1.0, 0.64, 1.0],
    ],
    name="attnseg unsigned",
    display_name="inferno, clear at its foot",
)
"""Inferno, whose lightness grows evenly, with a clear foot."""


def map_limits(volume: Volume, *, is_signed: bool) -> tuple[float, float]:
    """Return display limits of a map: symmetric if signed, 0 to 1 for gates, else its range."""
    low, high = value_range(volume)
    if is_signed:
        top = max(abs(low), abs(high)) or 1.0
        return -top, top
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + 1.0)


def value_range(volume: Volume) -> tuple[float, float]:
    """Return the least and the greatest finite value."""
    finite = volume.data[np.isfinite(volume.data)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def map_colormap(*, is_signed: bool) -> Colormap:
    """Return the colour map of a signed or unsigned map."""
    return SIGNED if is_signed else UNSIGNED
