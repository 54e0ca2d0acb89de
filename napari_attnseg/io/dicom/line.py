"""Whether slices follow each other evenly and upright; what is not is told with the numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from napari_attnseg.io.format import IrregularSeriesError, VolumeError

EVEN = 0.01
"""Slices are even where none lies further off than this fraction of their spacing."""

MOST_ROUNDING = 0.1
"""Rounded headers are forgiven up to this fraction of the spacing, with a warning."""

SAME_DIRECTION = 1e-3
"""Directions that differ by less than this are one, about 0.06 degrees."""

SMALLEST_DRIFT = 0.02
"""A drift of the whole stack by less than this fraction of a voxel is rounding, not a tilt."""

_APART = 1.9
"""Slices further apart than this, in units of their thickness, may be every second one."""

_ROUNDED = 0.65
"""How far rounding moves a position from the fitted line, in units of the last digit."""


def line_of(
    line: np.ndarray,
    normal: np.ndarray,
    thickness: float | None,
    spacing: tuple[float, float],
    name: str,
    *,
    may_tilt: bool = False,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return where the first slice lies and the step to the next, LPS mm, with warnings.

    Args:
        line: ``(D, 3)``: LPS mm of the first pixels, in order along the normal.
        normal: Of the slices, length 1.
        thickness: mm by which a lone slice extends, or None.
        spacing: mm between rows and between columns.
        name: What a refusal calls the slices.
        may_tilt: Whether a step that is not along the normal is returned as it is.

    Raises:
        VolumeError: If they are not even, or tilted; the message gives the numbers.
    """
    if len(line) == 1:
        told = () if thickness else ("The only slice does not say its thickness; 1 mm is taken.",)
        return line[0], normal * (thickness or 1.0), told
    start, step = _fitted(line)
    off = np.linalg.norm(line - (start + np.arange(len(line))[:, None] * step), axis=1).max()
    distance = float(np.linalg.norm(step))
    warnings: tuple[str, ...] = ()
    if off > EVEN * distance:
        if off > min(_ROUNDED * _rounding(line), MOST_ROUNDING * distance):
            raise _unevenness(line @ normal, off, name)
        warnings = (f"The rounded slice positions are up to {off:.3f} mm off an even spacing.",)
    if not may_tilt:
        _require_no_tilt(line, step, normal, spacing, name)
    if thickness and distance > _APART * thickness:
        warnings = (*warnings, _gappy(distance, thickness))
    drift = np.linalg.norm(line[-1] - line[0] - (line[-1] - line[0]) @ normal * normal)
    if drift <= SMALLEST_DRIFT * min(*spacing, distance):
        step = normal * (step @ normal)
    return start, step, warnings


def _gappy(distance: float, thickness: float) -> str:
    return (
        f"The slices lie {distance:.3f} mm apart and are {thickness:.3f} mm thick; if there "
        "should be no gaps, slices are missing."
    )


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
    raise IrregularSeriesError(
        f"The slices of {name!r} are tilted by {np.degrees(np.arctan2(aside, along)):.2f} degrees "
        f"(gantry tilt): each lies {aside:.3f} mm aside of the one before at {along:.3f} mm "
        "spacing; they can be resampled to upright slices (remedy='resample').",
        "resample",
    )


def _rounding(line: np.ndarray) -> float:
    """Return the unit to which the header's positions are rounded, if it is coarse; else 0."""
    moving = line[:, np.ptp(line, axis=0) > 0]
    for unit in (0.1, 0.01):
        if np.allclose(moving / unit, np.rint(moving / unit), atol=1e-6):
            return unit
    return 0.0


def _unevenness(heights: np.ndarray, off: float, name: str) -> VolumeError:
    gaps = np.diff(heights)
    if gaps.max() - gaps.min() < off / 2:
        return VolumeError(
            f"The slices of {name!r} do not lie above each other: some are up to {off:.3f} mm off "
            "an even line; export the series again, or resample it first."
        )
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
        longest, before = max((b - a, a) for a, b in pairwise(ends))
        run = (float(heights[before + 1]), float(heights[before + longest]))
        slices = "1 slice seems" if missing == 1 else f"{missing} slices seem"
        return IrregularSeriesError(
            f"{start}{gaps.max():.3f} mm {where}, {usual:.3f} mm elsewhere, so {slices} to be "
            f"missing; export the series again, or read only the longest run, {longest} of "
            f"{len(heights)} slices (remedy='longest-run').",
            "longest-run",
            run,
        )
    return VolumeError(
        f"{start}from {gaps.min():.3f} to {gaps.max():.3f} mm, up to {off:.3f} mm off an even "
        "grid; export the series again, or resample it to even slices first."
    )
