"""Which values a label map holds, and other numbers in their place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

LARGEST_TABLE = 2**16


def value_counts(label: np.ndarray) -> dict[int, int]:
    """Return how many voxels have each value that occurs, in ascending order."""
    if _has_small_values(label):
        counts = np.zeros(int(label.max()) + 1, dtype=np.int64)
        for plane in label:  # bincount makes int64 of its input: one plane at a time, not all
            found = np.bincount(plane.reshape(-1))
            counts[: len(found)] += found
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(label, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def renumbered(label: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    """Return the label map, uint8, with a number for each value that occurs."""
    values = np.array(sorted(numbers))
    table = np.array([numbers[int(value)] for value in values], dtype=np.uint8)
    if _has_small_values(label) and values[0] >= 0 and values[-1] < LARGEST_TABLE:
        direct = np.zeros(int(values[-1]) + 1, dtype=np.uint8)
        direct[values] = table
        return direct[label]
    return table[np.searchsorted(values, label)]


def _has_small_values(label: np.ndarray) -> bool:
    is_whole = np.issubdtype(label.dtype, np.integer)
    return bool(is_whole and label.size and label.min() >= 0 and label.max() < LARGEST_TABLE)
