"""How a volume is shown: its window, and its place where it is turned against another."""

from __future__ import annotations

import numpy as np

from napari_attnseg.volume import Grid, GridMismatchError, Volume, display_place

CT_AIR = -800.0
CT_WINDOW = (-160.0, 240.0)


def display_window(volume: Volume) -> tuple[float, float]:
    """Return the intensities to show as black and white.

    CT, known by air at about -1000 HU, gets the soft-tissue window; anything else its own range
    without the outermost half percent.
    """
    sparse = _some_voxels(volume)
    finite = sparse[np.isfinite(sparse)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(one) for one in np.percentile(finite, (0.5, 99.5)))
    if low <= CT_AIR and high > 0:
        return CT_WINDOW
    return (low, high) if high > low else (low, low + 1.0)


def _some_voxels(volume: Volume) -> np.ndarray:
    if volume.is_lazy:
        from napari_attnseg.io.opening import sampled

        return np.stack([sampled(volume, c)[:, ::2, ::2] for c in range(len(volume.data))])
    return volume.data[..., ::2, ::2] if volume.data.size > 2_000_000 else volume.data


def showable(volume: Volume, reference: Grid) -> Volume:
    """Return a volume that can be shown over a grid: itself if their axes are parallel.

    A turned one is resampled onto the grid, for display only, since napari cannot slice obliquely.
    """
    try:
        display_place(volume.grid, reference)
    except GridMismatchError:
        return _resampled(volume, reference)
    return volume


def _resampled(volume: Volume, reference: Grid) -> Volume:
    from scipy.ndimage import affine_transform

    origin = volume.grid.voxel(reference.world(np.zeros(3)))
    steps = volume.grid.voxel(reference.world(np.eye(3))) - origin
    data = affine_transform(
        np.asarray(volume.data[0], dtype=np.float32),
        steps.T,
        offset=origin,
        output_shape=reference.shape_dhw,
        order=1,
        cval=float(np.nanmin(_some_voxels(volume))),
    )
    return Volume(data[None], reference.affine, channels=volume.channels)
