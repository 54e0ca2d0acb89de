"""How grids are laid out on the screen."""

from __future__ import annotations

import numpy as np

from napari_attnseg.axes import Spacing
from napari_attnseg.volume.grid import Grid, GridMismatchError


def display_scale(grid: Grid) -> tuple[float, float, float]:
    """Return mm per voxel along D, H, W with the signs that show a volume the radiological way.

    Rows run down and columns right, so axes that grow towards R, A or S are shown backwards.
    """
    letters = grid.orientation[::-1]
    sizes = zip(grid.spacing_dhw, letters, strict=True)
    d, h, w = (-mm if letter in "RAS" else mm for mm, letter in sizes)
    return d, h, w


def display_place(grid: Grid, reference: Grid) -> tuple[Spacing, Spacing]:
    """Return the scale and translation that show a grid over a reference shown by `display_scale`.

    Raises:
        GridMismatchError: If the two are not stored in the same axis order and directions.
    """
    step = np.linalg.inv(reference.affine) @ grid.affine
    linear = step[:3, :3]
    if not np.allclose(linear, np.diag(np.diag(linear)), atol=1e-4 * np.abs(linear).max()):
        raise GridMismatchError("The two grids are turned against each other; resample one.")
    scale = np.array(display_scale(reference))
    stride, offset = np.diag(linear)[::-1], step[:3, 3][::-1]
    d, h, w, *start = (float(x) for x in (*scale * stride, *scale * offset))
    return (d, h, w), (start[0], start[1], start[2])
