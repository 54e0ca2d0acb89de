"""Which axes a patch may be mirrored along without a class ending up on the wrong side.

A name such as "left kidney" or "Hippocampus_R" is a statement about the patient. Mirroring an
image across left and right makes a left kidney look like a right one, so the labels must change
places with it, or the mirroring is left out. Names that are about front and back, or top and
bottom, have no such partner, and bodies no such symmetry: there patches are never mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_OPPOSITE = {
    "left": "right", "right": "left", "l": "r", "r": "l", "lt": "rt", "rt": "lt", "lh": "rh",
    "rh": "lh", "links": "rechts", "rechts": "links", "gauche": "droite", "droite": "gauche",
    "sinister": "dexter", "dexter": "sinister",
}  # fmt: skip

ASIDE = 0.1
"""Beyond this part of the half width a structure lies aside."""

ENOUGH_CASES = 4
MOSTLY = 0.9


@dataclass(frozen=True)
class Mirroring:
    """How patches may be mirrored.

    Args:
        axis: Tensor axis of ``(D, H, W)`` that runs across the patient's left-right, or None if
            no mirroring is allowed.
        swaps: Pairs of channel indices (classes counted from 1, 0 is the background) that change
            places when the axis is mirrored.
    """

    axis: int | None
    swaps: tuple[tuple[int, int], ...] = ()


def mirroring(orientation: str, classes: Mapping[int, str]) -> Mirroring:
    """Return how patches stored in an orientation may be mirrored.

    Only left and right are ever exchanged, the one symmetry that bodies have: an upside-down
    patient teaches nothing.

    Args:
        orientation: Letters of i, j and k, such as ``"RAS"``.
        classes: Names by class value, without the background.
    """
    axis = next(2 - at for at, letter in enumerate(orientation) if letter in "LR")
    names = [_tokens(classes[value]) for value in sorted(classes)]
    swaps: list[tuple[int, int]] = []
    for index, name in enumerate(names, start=1):
        if not _is_sided(name):
            continue
        partner = _partner(name)
        if names.count(partner) != 1 or names.count(name) != 1:
            return Mirroring(None)
        other = names.index(partner) + 1
        if index < other:
            swaps.append((index, other))
    return Mirroring(axis, tuple(swaps))


def is_lopsided(places: Sequence[Sequence[float]]) -> bool:
    """Return whether a structure lies on one and the same side of the body in every case.

    A liver does: mirrored, it would look like nobody's. Kidneys, and crops around either
    hippocampus, do not.

    Args:
        places: For each structure its mean place in each case, from -1 (left end of the volume)
            to 1.
    """
    for cases in places:
        on_one_side = max(sum(p > ASIDE for p in cases), sum(p < -ASIDE for p in cases))
        if len(cases) >= ENOUGH_CASES and on_one_side >= MOSTLY * len(cases):
            return True
    return False


def _tokens(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case: "LeftKidney_2" gives left, kidney, 2."""
    parts = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-Z])", " ", name)
    return tuple(word.lower() for word in re.split(r"[\W_]+", parts) if word)


def _is_sided(name: tuple[str, ...]) -> bool:
    return any(word in _OPPOSITE for word in name)


def _partner(name: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_OPPOSITE.get(word, word) for word in name)
