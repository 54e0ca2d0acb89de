"""The network's grid: storage order, voxel size and number of voxels."""

from __future__ import annotations

from typing import cast

import numpy as np

from napari_attnseg.axes import Size, Spacing

SAME_SPACING = 0.01
"""Spacings that differ by less than this fraction are one, and nothing is interpolated."""

ANISOTROPIC = 1.25
"""From this ratio of voxel sizes on the coarsest axis is that of the slices."""

COARSE = 3.0
"""From this ratio on the slice distance of a cohort is taken from its finer cases."""

# Keys count S, A, R, as volumes stored as RAS have them along D, H, W.
_ORIENTATIONS = {0: "RAS", 1: "RSA", 2: "ASR"}


def orientation_for(spacings: np.ndarray, shapes: np.ndarray) -> str:
    """Return the storage order that puts the slices along D; axial where no axis is coarser.

    Args:
        spacings: In mm along S, A, R, ``(cases, 3)``.
        shapes: Voxels along S, A, R, ``(cases, 3)``.
    """
    flat = np.flatnonzero(np.median(shapes, axis=0) <= 1)
    if len(flat):
        return _ORIENTATIONS[int(flat[0])]
    usual = np.median(spacings, axis=0)
    coarsest = int(usual.argmax())
    others = np.delete(usual, coarsest)
    return _ORIENTATIONS[coarsest if usual[coarsest] > ANISOTROPIC * others.max() else 0]


def spacing_for(spacings: np.ndarray, shapes: np.ndarray, most_voxels: float) -> Spacing:
    """Return the usual voxel size of a cohort, coarser only if volumes are too large to learn.

    Anisotropic volumes stay anisotropic: inventing slices costs time and adds nothing.

    Args:
        spacings: In mm along D, H, W of the network's order, ``(cases, 3)``.
        shapes: Voxels along the same axes, ``(cases, 3)``.
        most_voxels: How many voxels a usual volume may have.
    """
    target = np.median(spacings, axis=0)
    coarsest = int(target.argmax())
    others = np.delete(target, coarsest)
    if target[coarsest] > COARSE * others.max():
        target[coarsest] = max(np.percentile(spacings[:, coarsest], 10), others.max())
    extent = np.median(spacings * shapes, axis=0)
    target = _coarsened(target, extent, most_voxels)
    return cast("Spacing", tuple(round(float(mm), 6) for mm in target))


def network_shape(shape_dhw: Size, spacing_dhw: Spacing, target_dhw: Spacing) -> Size:
    """Return how many network voxels cover a volume; an axis of one voxel stays one."""
    sizes = []
    for n, mm, target in zip(shape_dhw, spacing_dhw, target_dhw, strict=True):
        is_same = abs(mm / target - 1) < SAME_SPACING
        sizes.append(int(n) if is_same or n == 1 else max(1, round(n * mm / target)))
    return cast("Size", tuple(sizes))


def _coarsened(target: np.ndarray, extent: np.ndarray, most_voxels: float) -> np.ndarray:
    """Raise the finest voxel sizes until a volume fits, at most to twice the finest."""
    finest = target.min()
    for factor in np.arange(1.0, 2.0001, 0.05):
        coarser = np.maximum(target, factor * finest)
        if np.prod(extent / coarser) <= most_voxels:
            break
    # A little coarser would blur every image and save next to nothing.
    return coarser if factor >= 1.2 else target
