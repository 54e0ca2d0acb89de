"""Dice and IoU of every class of two label maps, counted in one pass over the voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NIBBLE = 15
_LARGEST_TABLE = 1 << 20


@dataclass(frozen=True)
class Overlap:
    """How far two masks agree, in voxels.

    Args:
        prediction_voxels: Voxels of the predicted mask.
        reference_voxels: Voxels of the true mask.
        intersection: Voxels of both.
    """

    prediction_voxels: int
    reference_voxels: int
    intersection: int

    @property
    def dice(self) -> float | None:
        """Twice the intersection by the sum of both; None where both are empty."""
        both = self.prediction_voxels + self.reference_voxels
        return 2 * self.intersection / both if both else None

    @property
    def iou(self) -> float | None:
        """Intersection by union; None where both are empty."""
        union = self.prediction_voxels + self.reference_voxels - self.intersection
        return self.intersection / union if union else None


def overlap(
    prediction: np.ndarray, reference: np.ndarray, values: Sequence[int]
) -> dict[int, Overlap]:
    """Return the agreement of two label maps for some of their values.

    Args:
        prediction: Integers, ``(D, H, W)``.
        reference: Integers, same shape.
        values: Class values to score; other values count as background.

    Raises:
        ValueError: If the shapes differ or the values are not integers.
    """
    wanted = np.array(sorted(set(values)), dtype=np.int64)
    counts = joint_histogram(prediction, reference, wanted)
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    return {
        int(value): Overlap(int(rows[at]), int(columns[at]), int(counts[at, at]))
        for at, value in enumerate(wanted, start=1)
    }


def joint_histogram(
    prediction: np.ndarray, reference: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return how many voxels have each pair of values.

    Args:
        prediction: Integers, ``(D, H, W)``.
        reference: Integers, same shape.
        values: Sorted and distinct, ``(K,)``.

    Returns:
        ``(K + 1, K + 1)``, rows by prediction, columns by reference; index 0 stands for all
        values that are not asked for.

    Raises:
        ValueError: If the shapes differ or the arrays hold no integers.
    """
    prediction, reference = _as_integers(prediction), _as_integers(reference)
    if prediction.shape != reference.shape:
        raise ValueError(
            f"The prediction has the shape {prediction.shape}, the reference {reference.shape}; "
            "they must be the same."
        )
    if prediction.size == 0 or len(values) == 0:
        return np.zeros((len(values) + 1,) * 2, dtype=np.int64)
    if _all_within(prediction, reference, _NIBBLE):
        return _select(_count(prediction, reference, None, _NIBBLE + 1), values)
    ranks = _Ranks(prediction, reference, values)
    return _count(prediction, reference, ranks, len(values) + 1)


class _Ranks:
    """Turns values into their rank among those asked for, from 1; 0 for all others."""

    def __init__(self, prediction: np.ndarray, reference: np.ndarray, values: np.ndarray) -> None:
        self.values = values
        self.type = np.min_scalar_type((len(values) + 1) ** 2)
        largest = max(int(prediction.max()), int(reference.max()))
        lowest = min(int(prediction.min()), int(reference.min()))
        self.table: np.ndarray | None = None
        if lowest >= 0 and largest < _LARGEST_TABLE:
            self.table = np.zeros(largest + 1, dtype=self.type)
            for rank, value in enumerate(values, start=1):
                if 0 <= value <= largest:
                    self.table[value] = rank

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        if self.table is not None:
            return self.table[labels]
        at = np.searchsorted(self.values, labels)
        found = self.values[np.minimum(at, len(self.values) - 1)] == labels
        return np.where(found, at + 1, 0).astype(self.type)


def _count(
    prediction: np.ndarray, reference: np.ndarray, ranks: _Ranks | None, size: int
) -> np.ndarray:
    counts = np.zeros(size * size, dtype=np.int64)
    # A slice at a time stays in the processor's cache, and the copy that bincount makes is small.
    for first, second in zip(prediction, reference, strict=True):
        if ranks is None:
            first, second = first.astype(np.uint8, copy=False), second.astype(np.uint8, copy=False)
        else:
            first, second = ranks(first), ranks(second)
        pairs = first * first.dtype.type(size) + second
        counts += np.bincount(pairs.ravel(), minlength=size * size)
    return counts.reshape(size, size)


def _select(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Merge a histogram over 0, 1, 2 ... into one over the values asked for and the rest."""
    rank = np.zeros(len(counts), dtype=np.int64)
    for at, value in enumerate(values, start=1):
        if 0 <= value < len(counts):
            rank[value] = at
    size = len(values) + 1
    merged = np.zeros((size, size), dtype=np.int64)
    np.add.at(merged, (rank[:, None], rank[None, :]), counts)
    return merged


def _all_within(prediction: np.ndarray, reference: np.ndarray, largest: int) -> bool:
    return all(
        int(one.min()) >= 0 and int(one.max()) <= largest for one in (prediction, reference)
    )


def _as_integers(labels: np.ndarray) -> np.ndarray:
    if labels.dtype == bool:
        return labels.view(np.uint8)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"Label maps hold integers; found {labels.dtype}.")
    return labels
