"""How alike two maps are, whatever their units."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def pearson(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the correlation of two arrays of one size, or None where one is constant."""
    a, b = (one.astype(np.float64).reshape(-1) for one in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not np.isfinite(scale) or scale <= 1e-12 * max(1.0, float(np.abs(first).max())):
        return None
    return float(np.clip(a @ b / scale, -1.0, 1.0))


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the signed rank correlation, or None where one array is constant."""
    if min(np.ptp(first), np.ptp(second)) == 0:
        return None
    return pearson(rankdata(first), rankdata(second))


def similarity(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the structural similarity (Wang et al., 2004) of two maps, -1 to 1.

    Each is divided by its own largest magnitude first, so that zero and signs stay; windows are
    at most 7 cells wide. None where a map is zero.
    """
    from skimage.metrics import structural_similarity  # slow to import

    scaled = []
    for one in (first, second):
        top = float(np.abs(one).max())
        if top == 0 or not np.isfinite(top):
            return None
        scaled.append(np.squeeze(one.astype(np.float64) / top))
    shortest = min(scaled[0].shape, default=1)
    if shortest < 3:
        return _whole(scaled[0], scaled[1])
    width = min(7, shortest - (shortest % 2 == 0))
    return float(structural_similarity(scaled[0], scaled[1], win_size=width, data_range=2.0))


def _whole(a: np.ndarray, b: np.ndarray) -> float:
    """Return the structural similarity with one window over everything."""
    small, flat = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    between = float(((a - a.mean()) * (b - b.mean())).mean())
    light = (2 * a.mean() * b.mean() + small) / (a.mean() ** 2 + b.mean() ** 2 + small)
    return float(light * (2 * between + flat) / (a.var() + b.var() + flat))
