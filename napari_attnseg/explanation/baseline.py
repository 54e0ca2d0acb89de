"""What stands for "nothing" where voxels are taken out of an image."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from napari_attnseg.axes import Spacing

BASELINES = ("blurred", "median")


def baseline(
    image: np.ndarray, mask: np.ndarray, *, kind: str, stride: Spacing, spacing: Spacing
) -> np.ndarray:
    """Return an image without the structure, ``(C, d, h, w)``.

    ``"blurred"`` is blurred by the radius of a ball of the structure's volume, and at least by a
    cell of the map, so that neither it nor a cell can still be recognised. ``"median"`` has the
    median of each channel everywhere.

    Args:
        image: ``(C, d, h, w)``.
        mask: The structure, boolean ``(d, h, w)``.
        kind: One of `BASELINES`.
        stride: Voxels from one cell of the map to the next.
        spacing: Voxel size in mm along D, H and W.

    Raises:
        ValueError: If there is no such baseline.
    """
    if kind not in BASELINES:
        raise ValueError(f"There is no baseline {kind!r}; use {' or '.join(BASELINES)}.")
    if kind == "median":
        medians = np.median(image, axis=(1, 2, 3), keepdims=True)
        return np.broadcast_to(medians, image.shape).astype(image.dtype)
    volume = float(mask.sum()) * float(np.prod(spacing))
    radius = (3 * volume / (4 * np.pi)) ** (1 / 3)
    sigmas = [max(radius / mm, cells) for mm, cells in zip(spacing, stride, strict=True)]
    # Three means over boxes of width 2 sigma are almost a Gaussian, at a cost without sigma.
    widths = [max(1, round(2 * sigma)) for sigma in sigmas]
    blurred = image
    for _ in range(3):
        blurred = np.stack([uniform_filter(one, widths, mode="nearest") for one in blurred])
    return blurred.astype(image.dtype)
