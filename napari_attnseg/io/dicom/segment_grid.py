"""Where the frames of a segmentation lie, on a grid of their own and on that of their series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from napari_attnseg.io.dicom.channels import SAME_PLACE
from napari_attnseg.io.dicom.line import SAME_DIRECTION
from napari_attnseg.io.format import VolumeError
from napari_attnseg.volume import SAME_GRID_TOLERANCE, Grid, Volume, affine_for_itk

MOST_SLICES = 20_000


class Placed(Protocol):
    """A frame that says where it lies, LPS mm."""

    @property
    def position(self) -> np.ndarray:
        """Centre of the first pixel."""

    @property
    def directions(self) -> np.ndarray:
        """``(2, 3)``: directions in which columns and rows are counted."""


def own_places(
    planes: Sequence[Placed],
    spacing: tuple[float, float],
    distance: float | None,
    size: tuple[int, int],
    path: Path,
) -> tuple[Grid, list[int]]:
    """Return the smallest grid that holds all frames, and the slice of each.

    Empty frames are often left out, so gaps may be any multiple of the distance of slices.

    Args:
        planes: The frames.
        spacing: mm between rows and between columns.
        distance: mm between slices as the file says, or None.
        size: Rows and columns.
        path: The file, for messages.

    Raises:
        VolumeError: If the frames do not lie on one regular grid.
    """
    directions = planes[0].directions
    if any(np.abs(one.directions - directions).max() > SAME_DIRECTION for one in planes):
        raise VolumeError(f"The frames of {path.name!r} are turned against each other.")
    normal = np.cross(directions[0], directions[1])
    positions = np.array([one.position for one in planes])
    heights = positions @ normal
    first = positions[int(heights.argmin())]
    aside = positions - first - np.outer(heights - heights.min(), normal)
    step = _step(heights, distance, path)
    at = (heights - heights.min()) / step
    off = max(np.abs(at - np.rint(at)).max() * step, np.linalg.norm(aside, axis=1).max())
    if off > 5 * SAME_GRID_TOLERANCE * min(*spacing, step) or at.max() > MOST_SLICES:
        raise VolumeError(
            f"The frames of {path.name!r} lie up to {off:.3f} mm off an even grid of slices "
            f"{step:.3f} mm apart."
        )
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = directions[0] * spacing[1], directions[1] * spacing[0]
    lps[:3, 2], lps[:3, 3] = normal * step, first
    slices = [int(one) for one in np.rint(at)]
    return Grid((max(slices) + 1, *size), affine_for_itk(lps)), slices


def on_grid(data: np.ndarray, grid: Grid, target: Grid) -> np.ndarray | None:
    """Return voxels ``(C, D, H, W)`` of a part of a grid on the whole of it; None if unfit.

    Args:
        data: The part's voxels.
        grid: The part; its axes may run in another order or direction.
        target: The whole.
    """
    part = Volume(data, grid.affine).reoriented(target.orientation)
    tolerance = 5 * SAME_GRID_TOLERANCE
    start = target.voxel(part.grid.world(np.zeros(3)))
    end = target.voxel(part.grid.world(np.array(part.shape_dhw) - 1.0))
    low, high = np.rint(start), np.rint(end)
    if np.abs([start - low, end - high]).max() > tolerance:
        return None
    is_same_step = (high - low + 1 == part.shape_dhw).all()
    if not is_same_step or low.min() < 0 or (high >= target.shape_dhw).any():
        return None
    out = np.zeros((len(data), *target.shape_dhw), dtype=data.dtype)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    out[(slice(None), *box)] = part.data
    return out


def _step(heights: np.ndarray, distance: float | None, path: Path) -> float:
    gaps = np.diff(np.unique(heights))
    gaps = gaps[gaps > SAME_PLACE]
    if len(gaps) == 0:
        return distance or 1.0
    smallest = float(gaps.min())
    # What the file says may be the thickness of slices that overlap or stand apart.
    fits = distance and np.abs(gaps / distance - np.rint(gaps / distance)).max() < 0.05
    if distance and fits and np.rint(gaps / distance).min() >= 1:
        return distance
    return smallest
