"""Voxels with their place in the patient, and what writing them back exactly needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import inv_ornt_aff

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.volume.grid import Grid, GridMismatchError, storage_change, times


@dataclass(frozen=True, eq=False)
class Storage:
    """What a file says beyond voxels and place, kept so that writing back is exact.

    Args:
        ndim: Dimensions of the stored array: 2, 3 or 4.
        dtype: Stored type as numpy names it, before any scaling.
        qform, sform: 4x4 in RAS mm, or None.
        qform_code, sform_code: NIfTI codes, 0 for unknown.
        units: Names of the units of space and time.
        format: Name of the format, whose writer finds what else it needs in ``extra``.
    """

    ndim: int = 3
    dtype: str = "float32"
    qform: np.ndarray | None = None
    qform_code: int = 0
    sform: np.ndarray | None = None
    sform_code: int = 0
    units: tuple[str, str] = ("mm", "sec")
    format: str = "nifti"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their place in the patient.

    Args:
        data: ``(C, D, H, W)``; a label map or mask has one channel and an integer type. A volume
            larger than memory holds a Dask array, which is read where it is sliced.
        affine: 4x4, voxel ``(i, j, k)`` to world RAS in mm.
        storage: How the file held it; None for a volume made in memory.
        classes: Names of label values, where they are known.
        channels: Names of the channels, such as ``("T1", "FLAIR")``, where they are known.

    Raises:
        ValueError: If the data have not four axes or the affine places nothing.
    """

    data: np.ndarray
    affine: np.ndarray
    storage: Storage | None = None
    classes: Mapping[int, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != 4:
            raise ValueError(
                f"A volume has the axes (C, D, H, W); found {self.data.ndim} axes. "
                "Use array[None] for a single channel."
            )
        object.__setattr__(self, "affine", self.grid.affine)

    @property
    def is_lazy(self) -> bool:
        """Whether the voxels are still in their file and are read where they are sliced."""
        return not isinstance(self.data, np.ndarray)

    def loaded(self) -> Volume:
        """Return the same volume with all its voxels in memory."""
        return self.replace(data=np.asarray(self.data)) if self.is_lazy else self

    @property
    def grid(self) -> Grid:
        """Sizes and place, without the voxels."""
        return Grid(self.data.shape[1:], self.affine)

    @property
    def shape_dhw(self) -> Size:
        return self.grid.shape_dhw

    @property
    def spacing_dhw(self) -> Spacing:
        return self.grid.spacing_dhw

    @property
    def orientation(self) -> str:
        return self.grid.orientation

    def replace(self, **changes: Any) -> Volume:
        return dataclasses.replace(self, **changes)

    def on_grid(self, data: np.ndarray, **changes: Any) -> Volume:
        """Return other voxels, ``(D, H, W)`` or ``(C, D, H, W)``, stored as this volume's are.

        Raises:
            GridMismatchError: If the sizes differ.
        """
        data = data[None] if data.ndim == 3 else data
        if data.shape[1:] != self.data.shape[1:]:
            raise GridMismatchError(
                f"{times(data.shape[1:])} voxels do not fit a grid of {times(self.shape_dhw)}."
            )
        storage = self.storage
        if storage is not None:
            ndim = 4 if data.shape[0] > 1 else min(storage.ndim, 3)
            storage = dataclasses.replace(storage, dtype=str(data.dtype), ndim=ndim)
        return Volume(data, self.affine, storage=storage, **changes)

    def reoriented(self, orientation: str) -> Volume:
        """Return the same voxels at the same places in another storage order, without copying."""
        return self._stored(storage_change(self.affine, orientation))

    def parallel_to(self, grid: Grid) -> Volume:
        """Return the same voxels in the storage order whose axes run along those of a grid."""
        # Letters are ambiguous half-way between two world axes; a step between grids never is.
        step = np.linalg.solve(grid.affine, self.affine)
        return self._stored(nib.orientations.io_orientation(step))

    def _stored(self, change: np.ndarray) -> Volume:
        array = self.data.transpose(3, 2, 1, 0)  # (i, j, k, C)
        array = array[tuple(slice(None, None, int(way)) for way in change[:, 1])]
        array = array.transpose(*(int(axis) for axis in np.argsort(change[:, 0])), 3)
        affine = self.affine @ inv_ornt_aff(change, self.data.shape[:0:-1])
        return self.replace(data=array.transpose(3, 2, 1, 0), affine=affine, storage=None)
