"""Surfaces of label maps in the patient, by marching cubes."""

from __future__ import annotations

import numpy as np

from napari_attnseg.volume import Grid


def surface(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the closed surface of a mask, halfway between voxels in and out of it.

    Lorensen and Cline, "Marching cubes" (SIGGRAPH 1987), with Lewiner's table of 2003.

    Args:
        mask: Boolean, ``(D, H, W)``, not empty.
        grid: Where its voxels lie.

    Returns:
        ``(triangles, 3, 3)``: world RAS mm of each corner, anticlockwise as seen from outside.
    """
    # Both take long to load, and only who writes a surface needs them.
    from scipy.ndimage import find_objects
    from skimage.measure import marching_cubes

    (box,) = find_objects(mask.astype(np.uint8))
    # A border of background closes a surface that reaches the edge.
    inside = np.pad(mask[box], 1).astype(np.float32)
    vertices, faces, _, _ = marching_cubes(inside, 0.5)
    start = np.array([one.start - 1 for one in box])
    triangles = grid.world(vertices + start)[faces]
    volume = np.einsum("ni,ni->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2]))
    return triangles if volume > 0 else triangles[:, ::-1]
