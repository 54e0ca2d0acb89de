"""Which patch a training step sees: a function of the seed and the patch's number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_attnseg.axes import Size

NEW_CASE_SHARE = 0.4
"""Part of the patches that new cases get together in fine-tuning, if they are few."""

LARGEST_REPEAT = 10
"""A new case is seen at most this many times as often as an old one."""

_ORDER, _PATCH = 1, 2


@dataclass(frozen=True)
class Place:
    """A patch to cut: the case, and the patch's centre in voxels along D, H, W."""

    case: int
    centre_dhw: np.ndarray
    rng: np.random.Generator = field(repr=False, compare=False)


@dataclass(frozen=True)
class Sampler:
    """Draws patches so that each case is seen once a pass, in random order.

    Args:
        shapes: Voxels along D, H, W of each case.
        foreground: For each case and class present in it, some voxels of the class, ``(n, 3)``.
        patch_size: Voxels of a patch along D, H, W.
        foreground_fraction: Part of the patches that are centred on a voxel of a class.
        repeats: How often each case is seen in a pass.
        seed: Seed of all draws.
    """

    shapes: Sequence[Size]
    foreground: Sequence[Sequence[np.ndarray]]
    patch_size: Size
    foreground_fraction: float
    repeats: Sequence[int]
    seed: int

    def place(self, number: int) -> Place:
        """Return the patch with a number, counted from 0 over the whole training."""
        passes = np.repeat(np.arange(len(self.shapes)), self.repeats)
        which, at = divmod(number, len(passes))
        order = np.random.default_rng([self.seed, _ORDER, which]).permutation(passes)
        case = int(order[at])
        rng = np.random.default_rng([self.seed, _PATCH, number])
        return Place(case, self._centre(case, rng), rng)

    def _centre(self, case: int, rng: np.random.Generator) -> np.ndarray:
        voxels, patch = np.array(self.shapes[case]), np.array(self.patch_size)
        ends = np.stack([(patch - 1) / 2, voxels - 1 - (patch - 1) / 2])
        low, high = ends.min(axis=0), ends.max(axis=0)
        classes = self.foreground[case]
        if classes and rng.random() < self.foreground_fraction:
            points = classes[int(rng.integers(len(classes)))]
            jitter = rng.uniform(-0.25, 0.25, size=3) * patch
            # Whole voxels from the lowest place: a patch that is not turned is then not blurred.
            wanted = low + np.round(points[rng.integers(len(points))] + jitter - low)
            return np.clip(wanted, low, high)
        return low + rng.integers(0, np.round(high - low).astype(int) + 1)


def repeats_of(names: Sequence[str], new: frozenset[str]) -> list[int]:
    """Return how often each case is seen in a pass, new cases more often than old ones."""
    count = sum(name in new for name in names)
    old = len(names) - count
    if count == 0 or old == 0:
        return [1] * len(names)
    wanted = NEW_CASE_SHARE / (1 - NEW_CASE_SHARE) * old / count
    often = int(np.clip(round(wanted), 2, LARGEST_REPEAT))
    return [often if name in new else 1 for name in names]


def foreground_points(
    label: np.ndarray, classes: int, rng: np.random.Generator, *, most: int = 2000
) -> list[np.ndarray]:
    """Return voxels ``(n, 3)`` of each class that is present, at most ``most`` of each.

    Args:
        label: Channel indices, ``(D, H, W)``.
        classes: Number of classes without the background.
        rng: Chooses among many voxels.
        most: Voxels kept of a class.
    """
    flat = label.reshape(-1)
    inside = np.flatnonzero((flat > 0) & (flat <= classes))
    values = flat[inside]
    found = []
    for index in range(1, classes + 1):
        where = inside[values == index]
        if len(where) > most:
            where = np.sort(rng.choice(where, most, replace=False))
        if len(where):
            found.append(np.stack(np.unravel_index(where, label.shape), axis=1))
    return found
