"""Several images of one place, such as echoes, become channels; duplicates are refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from napari_attnseg.io.dicom.headers import DISTINGUISHING, Frame
from napari_attnseg.io.format import VolumeError

SAME_PLACE = 1e-3
"""Slices closer than this, in mm, lie at one place."""

Mark = float | str
Channels = tuple[tuple[Frame, ...], ...]


def split_channels(
    frames: Sequence[Frame], heights: np.ndarray, name: str
) -> tuple[Channels, tuple[str, ...]]:
    """Return the slices of each channel in order of height, and the channels' names.

    Several slices of one place are channels where one tag tells them apart in the same way at
    every place.

    Args:
        frames: Slices in any order.
        heights: Of each, mm along their common normal.
        name: What a refusal calls them.

    Raises:
        VolumeError: If slices lie at one place and nothing tells them apart.
    """
    places = _places(frames, heights)
    counts = sorted({len(place) for place in places})
    if counts == [1]:
        return (tuple(place[0] for place in places),), ()
    for tag in DISTINGUISHING if len(counts) == 1 else ():
        values = _common_values(places, tag)
        if values:
            return _by_tag(places, tag, values), tuple(_named(tag, value) for value in values)
    crowded = sum(len(place) > 1 for place in places)
    raise VolumeError(
        f"The {len(frames)} slices of {name!r} lie at only {len(places)} places, {crowded} of "
        f"which hold several, and no echo, phase or time tells them apart; keep one slice "
        f"for each place."
    )


def _places(frames: Sequence[Frame], heights: np.ndarray) -> list[list[Frame]]:
    order = np.argsort(heights, kind="stable")
    places = [[frames[order[0]]]]
    for before, at in pairwise(order):
        if heights[at] - heights[before] <= SAME_PLACE:
            places[-1].append(frames[at])
        else:
            places.append([frames[at]])
    return places


def _common_values(places: Sequence[Sequence[Frame]], tag: str) -> list[Mark]:
    """Return the values that a tag takes once at every place, in order; empty if it does not."""
    expected: list[Mark] = []
    for place in places:
        values = sorted((one.marks[tag] for one in place if tag in one.marks), key=_order)
        if len(set(values)) < len(place) or (expected and values != expected):
            return []
        expected = values
    return expected


def _order(mark: Mark) -> tuple[bool, Mark]:
    return isinstance(mark, str), mark


def _named(tag: str, mark: Mark) -> str:
    return f"{tag} {mark if isinstance(mark, str) else format(mark, 'g')}"


def _by_tag(places: Sequence[Sequence[Frame]], tag: str, values: Sequence[Mark]) -> Channels:
    ranked = [sorted(place, key=lambda one: _order(one.marks[tag])) for place in places]
    return tuple(tuple(place[at] for place in ranked) for at in range(len(values)))
