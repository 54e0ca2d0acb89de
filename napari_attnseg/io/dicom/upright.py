"""Resample the slices of a tilted gantry to upright ones, where the user asks for it."""

from __future__ import annotations

import numpy as np


def upright(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels on the grid whose third axis is along the normal of the slices.

    Each slice is moved within its plane, by linear interpolation, and stays at its height. The
    grid grows so that no voxel is lost; what no slice covers has the smallest value there is.

    Args:
        data: ``(C, D, H, W)``.
        affine: 4x4 of the tilted grid, its first two axes at right angles.

    Returns:
        Voxels of the same type, whole numbers rounded, and the affine of the upright grid.
    """
    row, column, step = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    aside_ij = np.array([step @ axis / (axis @ axis) for axis in (row, column)])
    slices = np.arange(data.shape[1])
    places = np.outer(slices, aside_ij)  # (D, 2): where each slice's first pixel lies, in pixels
    start = np.floor(places.min(axis=0) + 1e-9)
    more_i, more_j = (int(n) for n in np.ceil(places.max(axis=0) - start - 1e-9))
    shape = (*data.shape[:2], data.shape[2] + more_j, data.shape[3] + more_i)
    out = np.empty(shape, dtype=data.dtype)
    for channel in range(data.shape[0]):
        empty = float(data[channel].min())
        for k, (i, j) in enumerate(places - start):
            moved = _moved(data[channel, k].astype(np.float64), j, 0, shape[2], empty)
            moved = _moved(moved, i, 1, shape[3], empty)
            out[channel, k] = np.rint(moved) if data.dtype.kind in "iu" else moved
    placed = affine.copy()
    placed[:3, 2] = step - aside_ij[0] * row - aside_ij[1] * column
    placed[:3, 3] += start[0] * row + start[1] * column
    return out, placed


def _moved(plane: np.ndarray, by: float, axis: int, size: int, empty: float) -> np.ndarray:
    """Return a plane moved along an axis by a number of pixels, in a wider one."""
    whole = int(np.floor(by + 1e-9))
    part = max(by - whole, 0.0)
    padding = [(0, 0), (0, 0)]
    padding[axis] = (whole, size - plane.shape[axis] - whole)
    near = np.pad(plane, padding, constant_values=empty)
    if part < 1e-6:
        return near
    far = np.roll(near, 1, axis=axis)
    return near * (1 - part) + far * part
