"""Where the slices of a network lie along the slider that scrolls through an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.components import Dims

from napari_attnseg.gui.viewer.planes import PLANES, axis_pairs
from napari_attnseg.volume import Grid, Volume, display_scale


@dataclass(frozen=True)
class SliceAxis:
    """One axis of an image as napari's slider counts it.

    Args:
        axis: 0, 1 or 2 for D, H and W of the image.
        steps: Slices along it.
        spacing: Millimetres between slices.
        is_reversed: Whether the slider counts from the last slice to the first.
        ends: Letters of the patient's sides at the slider's two ends.
        plane: The view that scrolls along it.
    """

    axis: int
    steps: int
    spacing: float
    is_reversed: bool
    ends: tuple[str, str]
    plane: str

    def step(self, index: float) -> float:
        """Return the slider's step of a voxel index."""
        return self.steps - 1 - index if self.is_reversed else index

    def index(self, step: float) -> float:
        """Return the voxel index of a slider's step; the inverse of `step`."""
        return self.step(step)

    def shown(self, dims: Dims) -> tuple[int, int]:
        """Return the step of the image that is shown, and the slider's number of its first one.

        The slider starts before the image where a map that is shown is larger than it.
        """
        start = -(self.steps - 1) * self.spacing if self.is_reversed else 0.0
        first = (start - dims.range[self.axis].start) / self.spacing
        return round((dims.point[self.axis] - start) / self.spacing), round(first)


def slice_axis(grid: Grid, axis: int) -> SliceAxis:
    """Return how napari's slider runs along an axis of an image shown by `display_scale`."""
    pair = axis_pairs(grid)[axis]
    plane = next(name for name, pairs in PLANES.items() if pairs[0] == pair)
    return SliceAxis(
        axis=axis,
        steps=grid.shape_dhw[axis],
        spacing=grid.spacing_dhw[axis],
        is_reversed=display_scale(grid)[axis] < 0,
        ends=(pair[0], pair[1]),
        plane=plane,
    )


def profile_of(volume: Volume, axis: int, image: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return a map's values along one axis and where they lie in the image.

    Args:
        volume: A map that does not vary along the other two axes, stored parallel to the image.
        axis: 0, 1 or 2 for D, H and W.
        image: The image's grid.

    Returns:
        Voxel indices of the image along the axis, and the mean values there.
    """
    others = tuple(one for one in range(3) if one != axis)
    values = volume.data[0].mean(axis=others)
    centres = np.zeros((len(values), 3))
    centres[:, axis] = np.arange(len(values))
    return image.voxel(volume.grid.world(centres))[:, axis], values


def varying_axis(volume: Volume) -> int | None:
    """Return the only axis along which a map varies, or None if that is not one axis."""
    data = volume.data[0]
    spread = [float(np.ptp(data, axis=axis).max()) if data.size else 0.0 for axis in range(3)]
    varying = [axis for axis in range(3) if spread[axis] > 0]
    return varying[0] if len(varying) == 1 else None
