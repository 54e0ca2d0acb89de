"""Put an image onto another grid by the place of its voxels in the world."""

from __future__ import annotations

import numpy as np

from napari_attnseg.volume import Grid, GridMismatchError, Volume


def resampled(volume: Volume, grid: Grid) -> Volume:
    """Return an image on another grid, float32, interpolated linearly in world space.

    A voxel reaches half its size beyond its centre; what lies further outside the image has no
    value and becomes NaN, which counts as outside the body.
    """
    from scipy.ndimage import affine_transform

    origin = volume.grid.voxel(grid.world(np.zeros(3)))
    steps = (volume.grid.voxel(grid.world(np.eye(3))) - origin).T
    data = np.empty((volume.data.shape[0], *grid.shape_dhw), dtype=np.float32)
    for channel, out in zip(volume.data, data, strict=True):
        affine_transform(
            channel.astype(np.float32, copy=False),
            steps,
            offset=origin,
            output=out,
            order=1,
            mode="nearest",
        )
    data[:, _outside(origin, steps, grid, volume.grid)] = np.nan
    return Volume(data, grid.affine, channels=volume.channels)


def stored_like(volume: Volume, grid: Grid) -> Volume:
    """Return the same voxels in a grid's order, where nothing else keeps the two grids apart.

    Raises:
        GridMismatchError: If they differ in more than the order in which voxels are stored.
    """
    turned = volume.parallel_to(grid)
    how = grid.difference(turned.grid)
    if how is not None:
        raise GridMismatchError(f"The two are on different grids: {how}.")
    return grid_exactly(turned, grid)


def grid_exactly(volume: Volume, grid: Grid) -> Volume:
    """Return a volume with the affine of a grid that is its own but for rounding."""
    return volume.replace(data=np.ascontiguousarray(volume.data), affine=grid.affine)


def is_other_order(first: Grid, second: Grid) -> bool:
    """Return whether two grids hold the same voxels in other orders."""
    if first.difference(second) is None:
        return False
    # The voxels themselves do not matter here; broadcasting makes none.
    empty = np.broadcast_to(np.uint8(0), (1, *second.shape_dhw))
    return first.difference(Volume(empty, second.affine).parallel_to(first).grid) is None


def _outside(origin: np.ndarray, steps: np.ndarray, grid: Grid, source: Grid) -> np.ndarray:
    """Return a mask ``(D, H, W)`` of voxels that lie beyond the source's outermost voxels."""
    result = np.zeros(grid.shape_dhw, dtype=bool)
    axes = [np.arange(n, dtype=np.float64) for n in grid.shape_dhw]
    for axis, size in enumerate(source.shape_dhw):
        d, h, w = (one * step for one, step in zip(axes, steps[axis], strict=True))
        place = origin[axis] + d[:, None, None] + h[None, :, None] + w[None, None, :]
        # Half a voxel, and what rounding adds to it.
        result |= (place < -0.5 - 1e-6) | (place > size - 0.5 + 1e-6)
    return result
