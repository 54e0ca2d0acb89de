"""Intensities: which voxels are the body, how they spread, and how they are normalised."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MOST_SAMPLES = 2_000_000
"""Voxels that statistics look at; more change no percentile that matters."""

FILL_FRACTION = 0.2
"""A value that more of an image repeats exactly stands for "outside the body"."""


@dataclass(frozen=True)
class Spread:
    """How the intensities of a channel spread over the body.

    Args:
        low: 0.5th percentile.
        median: 50th percentile.
        high: 99.5th percentile.
        mean: Mean of the values clipped to low and high.
        std: Standard deviation of the same.
    """

    low: float
    median: float
    high: float
    mean: float
    std: float


def spread_of(values: np.ndarray) -> Spread:
    """Return the spread of finite values, ``(N,)``; zeros where there are none."""
    if not values.size:
        return Spread(0.0, 0.0, 0.0, 0.0, 0.0)
    values = values.astype(np.float64)
    low, median, high = np.percentile(values, (0.5, 50, 99.5))
    if not low < high:
        # A few voxels that differ in an otherwise constant image are all that there is to see.
        low, high = values.min(), values.max()
    # Centred and scaled first: the squares of values such as 1e300 have no float64.
    width = (high - low) or 1.0
    inside = (np.clip(values, low, high) - low) / width
    mean, std = low + width * inside.mean(), width * inside.std()
    return Spread(float(low), float(median), float(high), float(mean), float(std))


def fill_value(channel: np.ndarray) -> tuple[float, float]:
    """Return the value that stands for "outside the body", and the fraction of voxels with it.

    Candidates are 0, the smallest value and those of the corner voxels. A scanner's air is noise
    and repeats no value often; a skull-stripped or padded image repeats one exactly.
    """
    samples = sample(channel)
    if not samples.size:
        return 0.0, 0.0
    corners = channel[:: max(channel.shape[0] - 1, 1)]
    corners = corners[:, :: max(channel.shape[1] - 1, 1), :: max(channel.shape[2] - 1, 1)]
    found = {0.0, float(samples.min()), *map(float, corners[np.isfinite(corners)])}
    fractions = {value: float((samples == value).mean()) for value in sorted(found)}
    best = max(fractions, key=lambda value: fractions[value])
    return best, fractions[best]


def sample(
    channel: np.ndarray, mask: np.ndarray | None = None, most: int = MOST_SAMPLES
) -> np.ndarray:
    """Return finite voxels of a channel ``(D, H, W)``, evenly spread over it, at most ``most``."""
    values = channel.reshape(-1) if mask is None else channel[mask]
    step = -(-values.size // most)
    # A step that shares a factor with the row length would look at a few columns only.
    while step > 1 and math.gcd(step, channel.shape[-1]) > 1:
        step += 1
    values = values[:: max(step, 1)]
    return values[np.isfinite(values)]


def outside(channel: np.ndarray, *, has_fill: bool) -> np.ndarray:
    """Return which voxels are outside the body: those not finite, and those of the fill value."""
    mask = ~np.isfinite(channel)
    if has_fill:
        mask |= channel == fill_value(channel)[0]
    return mask


def body_spread(channel: np.ndarray, *, has_fill: bool) -> Spread:
    """Return the spread over the body of a channel ``(D, H, W)``."""
    samples = sample(channel)
    if has_fill and samples.size:
        body = samples[samples != fill_value(channel)[0]]
        samples = body if body.size else samples
    return spread_of(samples)


def usual_spread(channel: np.ndarray) -> tuple[Spread, float]:
    """Return the spread over what seems to be the body, and the fraction of fill voxels."""
    fraction = fill_value(channel)[1]
    return body_spread(channel, has_fill=fraction > FILL_FRACTION), fraction


def scaled(
    channel: np.ndarray, *, limits: tuple[float, float], centre: float, scale: float
) -> np.ndarray:
    """Return ``(clip(x, limits) - centre) / scale`` as float32; all zeros if the scale is 0."""
    result = np.zeros(channel.shape, dtype=np.float32)
    if not scale > 0 or not np.isfinite(scale):
        return result
    for index, plane in enumerate(channel):  # one plane in float64 at a time, not the volume
        clipped = np.clip(np.nan_to_num(plane.astype(np.float64), nan=limits[0]), *limits)
        result[index] = (clipped - centre) / scale
    return result
