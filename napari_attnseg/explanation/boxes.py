"""The box that a spatial transformer cuts out of an image, in the patient's space."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from napari_attnseg.axes import Size
from napari_attnseg.models.recording import RecordedMap
from napari_attnseg.volume import Grid

CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))
"""Along D, H and W, in units of half the image."""

EDGES = [
    [a, b] for a in range(8) for b in range(a + 1, 8) if np.abs(CORNERS[a] - CORNERS[b]).sum() == 2
]


def box(one: RecordedMap, grid: Grid, start: Size, margin: Size) -> dict[str, Any]:
    """Return where a window's transformer looks, JSON-ready.

    Args:
        one: A recorded transform, from the place in the network's view to that in the image; of
            a network of 2 dimensions the mean over slices is taken.
        grid: Of the whole image, as the network is given it.
        start: First voxel of the window.
        margin: Voxels of context before it.

    Returns:
        ``corners_ras`` ``(8, 3)`` of the box, ``whole_ras`` of the window as it would be without
        the transformer, ``edges`` as pairs of corners, and what the transformer does:
        ``translation_mm`` (RAS), ``rotation_degrees``, and ``scale`` along its own axes, where
        less than 1 means that the network looks at a smaller part, enlarged.
    """
    linear, shift = _dhw(one)
    size = np.array(one.size, dtype=np.float64)
    first = np.array(start, dtype=np.float64) - np.array(margin)

    def world(places: np.ndarray) -> np.ndarray:
        return grid.world((places + 1) * size / 2 - 0.5 + first)

    moved = CORNERS @ linear.T + shift
    half_mm = size / 2 * np.array(grid.spacing_dhw)
    in_mm = linear * half_mm[:, None] / half_mm
    left, scales, right = np.linalg.svd(in_mm)
    cosine = np.clip((np.trace(left @ right) - 1) / 2, -1, 1)
    return {
        "corners_ras": world(moved).tolist(),
        "whole_ras": world(CORNERS).tolist(),
        "edges": EDGES,
        "translation_mm": (world(shift[None]) - world(np.zeros((1, 3))))[0].tolist(),
        "rotation_degrees": float(np.degrees(np.arccos(cosine))),
        "scale": scales.tolist(),
    }


def _dhw(one: RecordedMap) -> tuple[np.ndarray, np.ndarray]:
    """Return the transform with axes D, H, W instead of x, y, z: 3x3 and 3."""
    theta = one.numbers()[0].double().cpu().numpy()  # (dims, dims + 1)
    dims = len(theta)
    linear, shift = np.eye(3), np.zeros(3)
    linear[3 - dims :, 3 - dims :] = theta[::-1, :dims][:, ::-1]
    shift[3 - dims :] = theta[::-1, dims]
    return linear, shift
