"""What the grey values of masks that are pictures stand for, found by looking at some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_attnseg.io import VolumeError
from napari_attnseg.io.pictures import read_pages
from napari_attnseg.io.recipe import GreyRange

CHAOS_CLASSES = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
_CHAOS = (
    GreyRange(55, 70, 1),
    GreyRange(110, 135, 2),
    GreyRange(175, 200, 3),
    GreyRange(240, 255, 4),
)
"""The ranges that the challenge's own evaluation takes, around 63, 126, 189 and 252."""

_LOOKED_AT = 24
_LARGEST_CLASS = 32


@dataclass(frozen=True)
class GreyMeaning:
    """Ranges of grey values with their classes, and the names of these.

    Without ranges the grey values are the classes.
    """

    ranges: tuple[GreyRange, ...] = ()
    classes: Mapping[int, str] = field(default_factory=dict)


def one_class(name: str) -> GreyMeaning:
    """Return the meaning of black and white masks of one class, whether white is 1 or 255."""
    return GreyMeaning((GreyRange(1, 1, 1), GreyRange(255, 255, 1)), {1: name})


CHAOS_MR = GreyMeaning(_CHAOS, CHAOS_CLASSES)


def meaning_of(masks: Sequence[Path], warnings: list[str]) -> GreyMeaning:
    """Return what the grey values of masks mean, as far as some of them tell.

    Four values around 63, 126, 189 and 252 are those of CHAOS; one value, 1 or 255, is one class;
    small numbers are classes. Any other is kept as it is, with a warning.
    """
    values = _values_in(masks)
    if not values or max(values) <= _LARGEST_CLASS:
        return GreyMeaning()
    if values == {255}:
        return GreyMeaning(one_class("foreground").ranges)
    if all(any(one.low <= value <= one.high for one in _CHAOS) for value in values):
        return CHAOS_MR
    shown = ", ".join(map(str, sorted(values)[:8])) + (", ..." if len(values) > 8 else "")
    warnings.append(f"The masks hold the grey values {shown}; each is taken for a class.")
    return GreyMeaning()


def _values_in(masks: Sequence[Path]) -> set[int]:
    """Return the values above 0 in some of the masks, spread evenly."""
    found: set[int] = set()
    for file in masks[:: max(1, len(masks) // _LOOKED_AT)]:
        try:
            pages, _ = read_pages(file)
        except VolumeError:
            # Who reads the whole label is told.
            continue
        for page in pages:
            found.update(int(value) for value in np.unique(page))
    return found - {0}
