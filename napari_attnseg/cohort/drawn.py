"""Which mask was drawn on which DICOM slice, where the masks are pictures in another folder.

Names decide. Where they are not the same, masks are taken to be numbered as the slices' files are,
which is not the order of the slices' positions, and the images are asked whether that can be: the
edge of what was drawn lies on edges of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from napari_attnseg.cohort.case import listed, natural
from napari_attnseg.io import VolumeError
from napari_attnseg.io.pictures import read_pages

_LOOKED_AT = 8
_CLEAR = 1.1
_SMALLEST_MASK = 20


class Certainty(Enum):
    """How sure it is which mask belongs to which slice; the value says so of some cases."""

    NAMED = ""
    CONFIRMED = (
        "The masks of {cases} are not named as their slices. They are paired in the order of the "
        "files' names, with which the edges in the images agree."
    )
    UNSURE = (
        "The masks of {cases} are not named as their slices. They are paired in the order of the "
        "files' names, which the images neither confirm nor contradict; check one of them."
    )
    CONTRADICTED = (
        "The masks of {cases} are not named as their slices, and fit the images better in the "
        "reverse of the order of the files' names. Which is right cannot be told, so they are "
        "left out; give each mask the name of its slice."
    )
    UNEQUAL = (
        "The masks of {cases} are not as many as the slices and are left out; each slice needs "
        "one of its own, empty where nothing is drawn."
    )


@dataclass(frozen=True)
class Pairing:
    """The mask of each slice by the name of its file; empty where that cannot be told."""

    certainty: Certainty
    masks: Mapping[str, Path] = field(default_factory=dict)


def pair_masks(slices: Sequence[Path], masks: Sequence[Path]) -> Pairing:
    """Return which mask belongs to which slice.

    Args:
        slices: DICOM files of one series.
        masks: Pictures, one a slice.
    """
    slices, masks = (sorted(some, key=lambda one: natural(one.name)) for some in (slices, masks))
    by_stem = {one.stem.casefold(): one for one in masks}
    if len(by_stem) == len(slices) and all(one.stem.casefold() in by_stem for one in slices):
        return Pairing(Certainty.NAMED, {one.name: by_stem[one.stem.casefold()] for one in slices})
    if len(slices) != len(masks):
        return Pairing(Certainty.UNEQUAL)
    certainty = _certainty(slices, masks)
    if certainty is Certainty.CONTRADICTED:
        return Pairing(certainty)
    named = (one.name for one in slices)
    return Pairing(certainty, dict(zip(named, masks, strict=True)))


def sentences(found: Mapping[str, Pairing]) -> list[str]:
    """Return what is to be said of the pairings of cases, one sentence for each kind."""
    told = []
    for kind in Certainty:
        cases = [name for name, pairing in found.items() if pairing.certainty is kind]
        if kind.value and cases:
            told.append(kind.value.format(cases=listed(cases)))
    return told


def _certainty(slices: Sequence[Path], masks: Sequence[Path]) -> Certainty:
    forward, backward = [], []
    for at in _with_something_drawn(masks):
        mask = _mask(masks[at])
        one, other = (_edges_agree(slices[n], mask) for n in (at, len(masks) - 1 - at))
        # In the middle both ways lead to the same slice, which tells nothing.
        if one is not None and other is not None and at != len(masks) - 1 - at:
            forward.append(one)
            backward.append(other)
    if not forward or 1 / _CLEAR < np.mean(forward) / np.mean(backward) < _CLEAR:
        return Certainty.UNSURE
    is_confirmed = np.mean(forward) > np.mean(backward)
    return Certainty.CONFIRMED if is_confirmed else Certainty.CONTRADICTED


def _with_something_drawn(masks: Sequence[Path]) -> list[int]:
    """Return the places of some masks that are not empty, spread over all of them."""
    candidates = range(0, len(masks), max(1, len(masks) // (3 * _LOOKED_AT)))
    drawn = [at for at in candidates if _mask(masks[at]).sum() >= _SMALLEST_MASK]
    return drawn[:: max(1, len(drawn) // _LOOKED_AT)]


def _mask(path: Path) -> np.ndarray:
    """Return where something is drawn, ``(H, W)``; nowhere if the file is damaged."""
    try:
        pages, _ = read_pages(path)
    except VolumeError:
        return np.zeros((1, 1), dtype=bool)
    return np.asarray(pages[0][..., 0] > 0)


def _edges_agree(path: Path, mask: np.ndarray) -> float | None:
    """Return how steep a slice is at a mask's edge, relative to what lies around it."""
    from scipy.ndimage import binary_dilation, binary_erosion, gaussian_gradient_magnitude

    from napari_attnseg.io.dicom.headers import read_header
    from napari_attnseg.io.dicom.pixels import read_slices

    try:
        image = read_slices(read_header(path).frames)[0].astype(np.float32)
    except VolumeError:
        return None
    if image.shape != mask.shape:
        return None
    steepness = gaussian_gradient_magnitude(image, 1.0)
    edge = mask & ~binary_erosion(mask)
    around = binary_dilation(mask, iterations=8)
    mean = float(steepness[around].mean())
    return float(steepness[edge].mean()) / mean if mean > 0 else None
