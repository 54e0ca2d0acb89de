"""Slices of a volume and of maps over it, as a radiologist looks at them.

The patient's right is on the left; axial slices have the front on top, the others the head.
Oblique volumes are shown in their own axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from napari_attnseg.axes import Size
from napari_attnseg.volume import Volume

RADIOLOGICAL = "LPI"
"""Storage order in which rows run down, and columns right, the radiological way."""

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""The axis, of D, H and W in that order, which each kind of slice is cut across."""

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}

Extent = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice.

    Args:
        values: ``(rows, columns)``.
        extent: Left, right, bottom and top edge in mm from the middle of the image's first pixel.
    """

    values: np.ndarray
    extent: Extent


@dataclass(frozen=True, eq=False)
class Scene:
    """An image with what lies over it, all stored the radiological way.

    Args:
        image: One channel.
        heat: A map whose axes run along the image's; None for none.
        labels: On the image's grid; None for none.
    """

    image: Volume
    heat: Volume | None = None
    labels: Volume | None = None

    @classmethod
    def of(cls, image: Volume, heat: Volume | None = None, labels: Volume | None = None) -> Scene:
        """Return volumes in radiological order.

        Args:
            image: Its first channel is shown.
            heat: A map with axes parallel to the image's.
            labels: On the image's grid.

        Raises:
            GridMismatchError: If labels are on another grid.
        """
        first = image.replace(data=image.data[:1], channels=())
        stored = first.reoriented(RADIOLOGICAL)
        if labels is not None:
            # On the grid of the image: its axes then need not be guessed from letters.
            labels = image.on_grid(labels.data).parallel_to(stored.grid)
        parallel = None if heat is None else heat.parallel_to(stored.grid)
        return cls(stored, parallel, labels)

    def letters(self, plane: str) -> dict[str, str]:
        """Return the letters at the ``left``, ``right``, ``top`` and ``bottom`` of a slice."""
        rows, columns = _rows_and_columns(plane)
        down, right = (self.image.orientation[::-1][axis] for axis in (rows, columns))
        return {"left": _OPPOSITE[right], "right": right, "top": _OPPOSITE[down], "bottom": down}

    def window(self) -> tuple[float, float]:
        """Return the darkest and the brightest value that are told apart."""
        finite = self.image.data[np.isfinite(self.image.data)]
        if not finite.size:
            return 0.0, 1.0
        low, high = np.percentile(finite, [1, 99.5])
        return float(low), float(high) if high > low else float(low) + 1.0

    def image_slice(self, plane: str, at: int) -> Slice:
        """Return a slice of the image."""
        return self._cut(self.image, plane, at)

    def label_slice(self, plane: str, at: int) -> Slice | None:
        """Return a slice of the labels."""
        return None if self.labels is None else self._cut(self.labels, plane, at)

    def heat_slice(self, plane: str, at: int) -> Slice | None:
        """Return the cells of the map that a slice of the image lies in, None beyond the map."""
        if self.heat is None:
            return None
        step = np.linalg.solve(self.image.affine, self.heat.affine)
        stride, offset = np.diag(step)[2::-1], step[2::-1, 3]
        axis = PLANES[plane]
        cell = int(np.floor((at - offset[axis]) / stride[axis] + 0.5))
        if not 0 <= cell < self.heat.shape_dhw[axis]:
            return None
        values = np.take(self.heat.data[0], cell, axis=axis)
        return Slice(values, self._extent(plane, values.shape, stride, offset))

    def peak(self) -> Size:
        """Return the voxel of the image at the map's largest value."""
        assert self.heat is not None
        cell = np.unravel_index(np.nanargmax(self.heat.data[0]), self.heat.shape_dhw)
        return self._inside(self.image.grid.voxel(self.heat.grid.world(np.array(cell))))

    def centre(self, value: int | None = None) -> Size | None:
        """Return the voxel in the middle of a class, or of all of them; None if there is none."""
        if self.labels is None:
            return None
        mask = self.labels.data[0] > 0 if value is None else self.labels.data[0] == value
        if not mask.any():
            return None
        return self._inside(np.argwhere(mask).mean(axis=0))

    def _inside(self, voxel: np.ndarray) -> Size:
        limits = np.array(self.image.shape_dhw) - 1
        return cast("Size", tuple(int(v) for v in np.clip(np.rint(voxel), 0, limits)))

    def _cut(self, volume: Volume, plane: str, at: int) -> Slice:
        values = np.take(volume.data[0], at, axis=PLANES[plane])
        return Slice(values, self._extent(plane, values.shape, np.ones(3), np.zeros(3)))

    def _extent(
        self, plane: str, shape: tuple[int, ...], stride: np.ndarray, offset: np.ndarray
    ) -> Extent:
        ends = []
        for axis, count in zip(_rows_and_columns(plane), shape, strict=True):
            mm = self.image.spacing_dhw[axis]
            first = (offset[axis] - stride[axis] / 2) * mm
            ends += [float(first), float(first + count * stride[axis] * mm)]
        top, bottom, left, right = ends
        return left, right, bottom, top


def _rows_and_columns(plane: str) -> tuple[int, int]:
    rows, columns = (axis for axis in range(3) if axis != PLANES[plane])
    return rows, columns
