"""Fill holes from what surrounds them, so that a hole does not tell where it was.

Noisy linear imputation (Rong et al., 2022, arXiv:2202.00449): every missing voxel is a weighted
mean of its neighbours, known or missing, which is a linear system; here in 3-D.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Neighbour = tuple[tuple[int, int, int], float]

FACES: tuple[Neighbour, ...] = (((1, 0, 0), 1 / 6), ((0, 1, 0), 1 / 6), ((0, 0, 1), 1 / 6))
"""Half of the six neighbours that share a face; the other half lies opposite."""

MOST_STEPS = 500


def impute(
    image: np.ndarray,
    missing: np.ndarray,
    *,
    noise: float = 0.01,
    rng: np.random.Generator | None = None,
    tolerance: float = 1e-3,
    neighbours: Sequence[Neighbour] = FACES,
) -> np.ndarray:
    """Return an image whose missing voxels continue those around them.

    Args:
        image: ``(C, D, H, W)``.
        missing: Boolean ``(D, H, W)``. Where all is missing, the mean of the image is put.
        noise: Standard deviation of what is added to filled voxels, over that of the channel.
        rng: Makes the noise.
        tolerance: Of the remainder of the linear system, over its right side.
        neighbours: Steps to one of each pair of opposite neighbours, and their weights.
    """
    filled = image.astype(np.float64 if image.dtype == np.float64 else np.float32, copy=True)
    if not missing.any():
        return filled
    rng = rng or np.random.default_rng(0)
    for channel in filled:
        spread = noise * float(channel.std())
        channel[missing] = _solved(channel, missing, tolerance, neighbours)
        if spread > 0:
            channel[missing] += spread * rng.standard_normal(int(missing.sum()))
    return filled


def _solved(
    channel: np.ndarray, missing: np.ndarray, tolerance: float, neighbours: Sequence[Neighbour]
) -> np.ndarray:
    """Return the values of the missing voxels: conjugate gradients from a coarse-to-fine guess."""
    known = ~missing
    if not known.any():
        return np.full(int(missing.sum()), channel.mean(), dtype=channel.dtype)
    hole = missing.astype(channel.dtype)
    degree = _around(np.ones_like(channel), neighbours)
    right = _around(channel * known, neighbours) * hole
    x = _guess(channel, known) * hole
    rest = right - _applied(x, hole, degree, neighbours)
    scaled = rest / degree
    direction, power = scaled.copy(), _dot(rest, scaled)
    enough = tolerance**2 * max(_dot(right, right / degree), 1e-30)
    for _ in range(MOST_STEPS):
        if power <= enough:
            break
        moved = _applied(direction, hole, degree, neighbours)
        step = power / _dot(direction, moved)
        x += step * direction
        rest -= step * moved
        scaled = rest / degree
        power, before = _dot(rest, scaled), power
        direction *= power / before
        direction += scaled
    return x[missing]


def _applied(
    x: np.ndarray, hole: np.ndarray, degree: np.ndarray, neighbours: Sequence[Neighbour]
) -> np.ndarray:
    return (degree * x - _around(x, neighbours)) * hole


def _around(x: np.ndarray, neighbours: Sequence[Neighbour]) -> np.ndarray:
    """Return the weighted sum of each voxel's neighbours, as far as there are such."""
    total = np.zeros_like(x)
    for step, weight in neighbours:
        near, far = _shifted(step)
        total[near] += weight * x[far]
        total[far] += weight * x[near]
    return total


def _shifted(step: tuple[int, int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    near = tuple(slice(None, -s) if s > 0 else slice(-s, None) for s in step)
    far = tuple(slice(s, None) if s >= 0 else slice(None, s) for s in step)
    return near, far


def _guess(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return values with holes filled by means of ever larger surroundings."""
    if known.all() or max(values.shape) == 1:
        mean = values[known].mean() if known.any() else 0.0
        return np.where(known, values, mean).astype(values.dtype)
    pads = [(0, n % 2) for n in values.shape]
    share = _halved(np.pad(known.astype(values.dtype), pads))
    sums = _halved(np.pad(values * known, pads))
    coarse = _guess(sums / np.maximum(share, 1e-12), share > 0)
    for axis in range(3):
        coarse = np.repeat(coarse, 2, axis=axis)
    d, h, w = values.shape
    return np.where(known, values, coarse[:d, :h, :w])


def _halved(values: np.ndarray) -> np.ndarray:
    """Return sums of two by two by two voxels of an array of even size."""
    d, h, w = (n // 2 for n in values.shape)
    return values.reshape(d, 2, h, 2, w, 2).sum(axis=(1, 3, 5))


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b))
