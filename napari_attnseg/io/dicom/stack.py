"""Put slices in order and check that they make one regular grid; nothing is resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from napari_attnseg.io.dicom.channels import split_channels
from napari_attnseg.io.dicom.headers import Frame
from napari_attnseg.io.format import VolumeError
from napari_attnseg.volume import affine_for_itk

EVEN = 0.01
"""Slices are even where none lies further off than this fraction of their spacing."""

MOST_ROUNDING = 0.1
"""Rounded headers are forgiven up to this fraction of the spacing, with a warning."""

SAME_DIRECTION = 1e-3
"""Directions that differ by less than this are one, about 0.06 degrees."""

SMALLEST_DRIFT = 0.02
"""A drift of the whole stack by less than this fraction of a voxel is rounding, not a tilt."""


@dataclass(frozen=True)
class Stack:
    """Slices that make a volume.

    Args:
        channels: One sequence of slices a channel, in the order of the third axis.
        names: Of the channels; empty if there is one.
        affine: 4x4, voxel ``(i, j, k)`` to world RAS in mm.
        warnings: What the user should know.
    """

    channels: tuple[tuple[Frame, ...], ...]
    names: tuple[str, ...]
    affine: np.ndarray
    warnings: tuple[str, ...] = ()


def stack(frames: Sequence[Frame], name: str) -> Stack:
    """Return slices in order, with the grid they make.

    Args:
        frames: Slices in any order.
        name: What a refusal calls them.

    Raises:
        VolumeError: If they make no regular grid; the message gives the numbers and the remedy.
    """
    directions, spacing = _common_plane(frames, name)
    normal = np.cross(directions[0], directions[1])
    positions = np.array([one.position for one in frames])
    heights = positions @ normal
    channels, names = split_channels(frames, heights, name)
    first = channels[0]
    line = np.array([one.position for one in first])
    start, step, warnings = _line(line, normal, first, spacing, name)
    lps = np.eye(4)
    lps[:3, 0] = directions[0] * spacing[1]
    lps[:3, 1] = directions[1] * spacing[0]
    lps[:3, 2] = step
    lps[:3, 3] = start
    return Stack(channels, names, affine_for_itk(lps), warnings)


def _common_plane(frames: Sequence[Frame], name: str) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the directions and pixel spacing that all slices share."""
    if any(one.position is None or one.directions is None for one in frames):
        raise VolumeError(
            f"The slices of {name!r} do not say where in the patient they lie; export the series "
            "with its image positions and orientations."
        )
    if any(one.spacing is None or min(one.spacing) <= 0 for one in frames):
        raise VolumeError(f"The slices of {name!r} do not say how large their pixels are.")
    _require_one_size(frames, name)
    directions = np.array([one.directions for one in frames])
    lengths = np.linalg.norm(directions, axis=2)
    skew = np.abs((directions[:, 0] * directions[:, 1]).sum(axis=1)).max()
    if np.abs(lengths - 1).max() > SAME_DIRECTION or skew > SAME_DIRECTION:
        raise VolumeError(
            f"The orientation in the header of {name!r} is damaged: its rows and columns are not "
            "at right angles or not of length 1."
        )
    _require_one_orientation(directions, name)
    # Rounded digits would make the affine a sheared one.
    row = directions[0, 0] / lengths[0, 0]
    column = directions[0, 1] - (directions[0, 1] @ row) * row
    return np.stack([row, column / np.linalg.norm(column)]), frames[0].spacing or (1.0, 1.0)


def _require_one_size(frames: Sequence[Frame], name: str) -> None:
    sizes = sorted({one.size for one in frames})
    if len(sizes) > 1:
        (a, b), (c, d) = sizes[0], sizes[-1]
        raise VolumeError(
            f"The slices of {name!r} have {len(sizes)} sizes, from {a} x {b} to {c} x {d} pixels; "
            "give the files of one size only."
        )
    spacings = np.array([one.spacing for one in frames])
    low, high = spacings.min(axis=0), spacings.max(axis=0)
    if not np.allclose(low, high, rtol=1e-4, atol=0):
        raise VolumeError(
            f"The slices of {name!r} have pixels of different sizes, from {low[0]:.4g} x "
            f"{low[1]:.4g} to {high[0]:.4g} x {high[1]:.4g} mm; give the files of one size only."
        )


def _require_one_orientation(directions: np.ndarray, name: str) -> None:
    apart = np.abs(directions - directions[0]).max(axis=(1, 2))
    if apart.max() <= SAME_DIRECTION:
        return
    cosine = np.clip((directions * directions[0]).sum(axis=2).min(), -1, 1)
    different = int((apart > SAME_DIRECTION).sum())
    raise VolumeError(
        f"{different} of the {len(directions)} slices of {name!r} are turned against the others, "
        f"by up to {np.degrees(np.arccos(cosine)):.1f} degrees; give the files of one "
        "orientation only."
    )


def _line(
    line: np.ndarray,
    normal: np.ndarray,
    frames: Sequence[Frame],
    spacing: tuple[float, float],
    name: str,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return where the first slice lies and the step to the next, LPS mm, with warnings."""
    if len(line) == 1:
        thickness = frames[0].thickness
        told = () if thickness else ("The only slice does not say its thickness; 1 mm is taken.",)
        return line[0], normal * (thickness or 1.0), told
    start, step = _fitted(line)
    _require_no_tilt(line, step, normal, spacing, name)
    off = np.linalg.norm(line - (start + np.arange(len(line))[:, None] * step), axis=1).max()
    distance = float(np.linalg.norm(step))
    warnings: tuple[str, ...] = ()
    if off > EVEN * distance:
        if off > min(0.55 * _rounding(line), MOST_ROUNDING * distance):
            raise VolumeError(_unevenness(line @ normal, off, name))
        warnings = (f"The rounded slice positions are up to {off:.3f} mm off an even spacing.",)
    drift = np.linalg.norm(line[-1] - line[0] - (line[-1] - line[0]) @ normal * normal)
    if drift <= SMALLEST_DRIFT * min(*spacing, distance):
        step = normal * (step @ normal)
    return start, step, warnings


def _fitted(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return start and step of the straight line that passes the positions most closely."""
    step = (line[-1] - line[0]) / (len(line) - 1)
    off = np.abs(line - (line[0] + np.arange(len(line))[:, None] * step)).max()
    if off <= 1e-4 * np.linalg.norm(step):
        return line[0], step
    at = np.arange(len(line)) - (len(line) - 1) / 2
    step = at @ (line - line.mean(axis=0)) / (at @ at)
    return line.mean(axis=0) + at[0] * step, step


def _require_no_tilt(
    line: np.ndarray,
    step: np.ndarray,
    normal: np.ndarray,
    spacing: tuple[float, float],
    name: str,
) -> None:
    along = step @ normal
    aside = float(np.linalg.norm(step - along * normal))
    drift = aside * (len(line) - 1)
    if aside <= SAME_DIRECTION * along or drift <= SMALLEST_DRIFT * min(spacing):
        return
    raise VolumeError(
        f"The slices of {name!r} are tilted by {np.degrees(np.arctan2(aside, along)):.2f} degrees "
        f"(gantry tilt): each lies {aside:.3f} mm aside of the one before at {along:.3f} mm "
        "spacing; resample the series to upright slices first, for example with dcm2niix."
    )


def _rounding(line: np.ndarray) -> float:
    """Return the unit to which the header's positions are rounded, if it is coarse; else 0."""
    for unit in (1.0, 0.1, 0.01):
        if np.allclose(line / unit, np.rint(line / unit), atol=1e-6):
            return unit
    return 0.0


def _unevenness(heights: np.ndarray, off: float, name: str) -> str:
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    usual = float(gaps.min()) if usual > 1.5 * gaps.min() else usual
    wide = np.flatnonzero(gaps > 1.5 * usual)
    multiples = gaps / usual
    start = f"The slices of {name!r} are unevenly spaced: "
    if len(wide) and np.abs(multiples - np.rint(multiples)).max() < 0.05:
        missing = int(np.rint(multiples).sum()) - len(gaps)
        at = int(wide[0])
        where = f"between {heights[at]:.2f} and {heights[at + 1]:.2f} mm"
        ends = [-1, *wide.tolist(), len(gaps)]
        longest = max(b - a for a, b in pairwise(ends))
        slices = "1 slice seems" if missing == 1 else f"{missing} slices seem"
        return (
            f"{start}{gaps.max():.3f} mm {where}, {usual:.3f} mm elsewhere, so {slices} to be "
            f"missing; export the series again, or give only the files of the longest run, "
            f"{longest} of {len(heights)} slices."
        )
    return (
        f"{start}from {gaps.min():.3f} to {gaps.max():.3f} mm, up to {off:.3f} mm off an even "
        "grid; export the series again, or resample it to even slices first."
    )
