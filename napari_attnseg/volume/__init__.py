"""A volume and its place in the patient; every axis reversal and every RAS/LPS flip lives here.

One convention: arrays are ``(C, D, H, W)``, indexed ``[c, k, j, i]``; affines are those of NIfTI,
4x4 float64, from voxel ``(i, j, k)`` to world RAS in mm. Spacing and orientation are derived from
the affine, never stored beside it.
"""

from __future__ import annotations

from napari_attnseg.volume.display import display_place, display_scale
from napari_attnseg.volume.grid import (
    SAME_GRID_TOLERANCE,
    Grid,
    GridMismatchError,
    affine_for_itk,
    require_same_grid,
)
from napari_attnseg.volume.volume import Storage, Volume

__all__ = [
    "SAME_GRID_TOLERANCE",
    "Grid",
    "GridMismatchError",
    "Storage",
    "Volume",
    "affine_for_itk",
    "display_place",
    "display_scale",
    "require_same_grid",
]
