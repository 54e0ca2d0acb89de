"""One colour a class, everywhere, that eyes of every kind can tell apart."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")
"""Okabe and Ito's colours, without black, the most different ones first."""

GOLDEN_ANGLE = 0.381966


def class_colour(index: int) -> str:
    """Return the colour, ``#RRGGBB``, of the class with an index from 0 in the order of values."""
    if index < len(OKABE_ITO):
        return OKABE_ITO[index]
    # Beyond seven, hues in golden angles with alternating lightness: no two neighbours alike.
    n = index - len(OKABE_ITO)
    hue, lightness = (0.58 + n * GOLDEN_ANGLE) % 1, 0.45 + 0.25 * (n % 2)
    r, g, b = colorsys.hls_to_rgb(hue, lightness, 0.65)
    return f"#{round(r * 255):02X}{round(g * 255):02X}{round(b * 255):02X}"


def class_colours(values: Iterable[int]) -> dict[int, str]:
    """Return the colour of each class value but the background."""
    wanted = sorted(value for value in values if value != 0)
    return {value: class_colour(index) for index, value in enumerate(wanted)}


def swatch(colour: str) -> str:
    """Return a coloured square for rich text."""
    return f'<span style="color:{colour}">■</span>'
