"""A map as cells on a network's grid: which voxels belong to which value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.ndimage import map_coordinates

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.volume import Grid, GridMismatchError, Volume


@dataclass(frozen=True, eq=False)
class Heat:
    """Values of a map; cell u lies at voxel ``offset + stride * u`` of the network's grid.

    Args:
        values: ``(d, h, w)``, raw and signed.
        stride: Voxels of the network's grid from one cell to the next.
        offset: Voxel at which the first cell is centred.
    """

    values: np.ndarray
    stride: Spacing
    offset: Spacing

    @classmethod
    def of(cls, volume: Volume, grid: Grid) -> Heat:
        """Return a map that was written beside an image, as cells of the network's grid.

        Args:
            volume: One channel, stored in any order.
            grid: Of the network for that image.

        Raises:
            GridMismatchError: If the map's axes are turned against those of the grid.
        """
        stored = volume.parallel_to(grid)
        step = np.linalg.solve(grid.affine, stored.affine)
        linear = np.diag(step[:3, :3])
        turned = np.abs(step[:3, :3] - np.diag(linear)).max()
        if turned > 1e-3 * np.abs(linear).max():
            raise GridMismatchError(
                "The map is turned against the grid of this network and case, so it was made for "
                "another one; make it again."
            )
        stride = cast("Spacing", tuple(float(one) for one in linear[::-1]))
        offset = cast("Spacing", tuple(float(one) for one in step[:3, 3][::-1]))
        return cls(np.ascontiguousarray(stored.data[0]), stride, offset)

    def cell_of(self, axis: int, size: int) -> np.ndarray:
        """Return, for each of so many voxels along an axis, the index of the nearest cell."""
        at = (np.arange(size) - self.offset[axis]) / self.stride[axis]
        # Not `rint`: that rounds halves to even numbers, which makes cells of unequal size.
        nearest = np.floor(at + 0.5).astype(np.int64)
        return np.clip(nearest, 0, self.values.shape[axis] - 1)

    def at_voxels(self, shape: Size) -> np.ndarray:
        """Return the value of the nearest cell at every voxel, ``shape``."""
        d, h, w = (self.cell_of(axis, shape[axis]) for axis in range(3))
        return self.values[np.ix_(d, h, w)]

    def between(self, places: np.ndarray) -> np.ndarray:
        """Return values at voxel places ``(..., 3)`` of the network's grid, linear between cells.

        Beyond the outermost cells their values go on.
        """
        at = (places - np.array(self.offset)) / np.array(self.stride)
        moved = np.moveaxis(at, -1, 0)
        return cast(
            "np.ndarray",
            map_coordinates(self.values.astype(np.float64), moved, order=1, mode="nearest"),
        )

    def places(self) -> np.ndarray:
        """Return the voxel places of all cells, ``(d, h, w, 3)``."""
        axes = [
            self.offset[axis] + self.stride[axis] * np.arange(self.values.shape[axis])
            for axis in range(3)
        ]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
