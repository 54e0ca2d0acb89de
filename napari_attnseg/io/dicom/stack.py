"""Put slices in order and check that they make one regular grid; nothing is resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_attnseg.io.dicom.channels import SAME_PLACE, split_channels
from napari_attnseg.io.dicom.headers import Frame
from napari_attnseg.io.dicom.line import EVEN, SAME_DIRECTION, line_of
from napari_attnseg.io.format import IrregularSeriesError, Remedy, VolumeError
from napari_attnseg.volume import affine_for_itk


@dataclass(frozen=True)
class Stack:
    """Slices that make a volume.

    Args:
        channels: One sequence of slices a channel, in the order of the third axis.
        names: Of the channels; empty if there is one.
        affine: 4x4, voxel ``(i, j, k)`` to world RAS in mm.
        warnings: What the user should know.
        is_tilted: Whether the third axis is not along the slices' normal.
    """

    channels: tuple[tuple[Frame, ...], ...]
    names: tuple[str, ...]
    affine: np.ndarray
    warnings: tuple[str, ...] = ()
    is_tilted: bool = False


def stack(frames: Sequence[Frame], name: str, remedy: Remedy | None = None) -> Stack:
    """Return slices in order, with the grid they make.

    Args:
        frames: Slices in any order.
        name: What a refusal calls them.
        remedy: What to do where they make none: leave all but the longest run out, or let the
            grid be tilted, to be resampled.

    Raises:
        VolumeError: If they make no regular grid; the message gives the numbers and the remedy.
    """
    try:
        return _stack(frames, name)
    except IrregularSeriesError as error:
        if error.remedy != remedy:
            raise
        if error.heights is None:
            return _stack(frames, name, may_tilt=True)
        return _part(frames, name, error.heights)


def _part(frames: Sequence[Frame], name: str, heights: tuple[float, float]) -> Stack:
    """Return the slices between two heights, both included."""
    directions, _ = _common_plane(frames, name)
    normal = np.cross(directions[0], directions[1])
    mine = np.array([one.position for one in frames]) @ normal
    is_kept = (mine >= heights[0] - SAME_PLACE) & (mine <= heights[1] + SAME_PLACE)
    kept = [one for one, keep in zip(frames, is_kept, strict=True) if keep]
    made = _stack(kept, name)
    told = f"Only the longest run of even slices was read, {len(kept)} of {len(frames)}."
    return replace(made, warnings=(*made.warnings, told))


def _stack(frames: Sequence[Frame], name: str, *, may_tilt: bool = False) -> Stack:
    directions, spacing = _common_plane(frames, name)
    normal = np.cross(directions[0], directions[1])
    positions = np.array([one.position for one in frames])
    heights = positions @ normal
    channels, names = split_channels(frames, heights, name)
    first = channels[0]
    line = np.array([one.position for one in first])
    start, step, warnings = line_of(
        line, normal, first[0].thickness, spacing, name, may_tilt=may_tilt
    )
    _require_one_place(channels, line, step, name)
    lps = np.eye(4)
    lps[:3, 0] = directions[0] * spacing[1]
    lps[:3, 1] = directions[1] * spacing[0]
    lps[:3, 2] = step
    lps[:3, 3] = start
    if may_tilt:
        angle = np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1)))
        warnings = (*warnings, f"Slices tilted by {angle:.2f} degrees were resampled to upright.")
    return Stack(channels, names, affine_for_itk(lps), warnings, may_tilt)


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


def _require_one_place(
    channels: Sequence[Sequence[Frame]], line: np.ndarray, step: np.ndarray, name: str
) -> None:
    for channel in channels[1:]:
        aside = np.linalg.norm(np.array([one.position for one in channel]) - line, axis=1).max()
        if aside > EVEN * np.linalg.norm(step):
            raise VolumeError(
                f"Slices of {name!r} at one height lie up to {aside:.3f} mm beside each other; "
                "give the files of one block of slices only."
            )
