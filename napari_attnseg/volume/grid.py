"""Where voxels lie in the patient, and how two such places differ.

Affines are those of NIfTI, 4x4 float64, from voxel ``(i, j, k)`` to world RAS in mm. Spacing and
orientation are derived from them, never stored beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import inv_ornt_aff

from napari_attnseg.axes import Size, Spacing

SAME_GRID_TOLERANCE = 0.02
"""Two grids are one where no corner is further apart than this fraction of the smallest voxel."""

SMALLEST_STEP = 1e-9
"""mm; less lies between no two voxels, not even those of an electron microscope."""

LARGEST_PLACE = 1e9
"""mm; nothing lies further from the scanner."""


class GridMismatchError(ValueError):
    """Two volumes that should share a grid do not; the message says by how much."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie: their number along D, H, W and the affine that places them.

    Args:
        shape_dhw: Voxels along D, H and W.
        affine: 4x4, voxel ``(i, j, k)`` to world RAS in mm.

    Raises:
        ValueError: If the affine is not finite, or not invertible, or a size is not positive.
    """

    shape_dhw: Size
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape_dhw)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"A grid needs three positive sizes; found {self.shape_dhw}.")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError("The affine must be 4x4 and finite; the header is damaged.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() < SMALLEST_STEP or np.abs(affine).max() > LARGEST_PLACE:
            raise ValueError("The affine gives voxels no size that can be; the header is damaged.")
        # Relative to the axes, so that micrometres are as good as millimetres.
        if abs(np.linalg.det(affine[:3, :3])) <= 1e-6 * lengths.prod():
            raise ValueError("The affine gives voxels no volume; the header is damaged.")
        affine.flags.writeable = False
        object.__setattr__(self, "shape_dhw", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_dhw(self) -> Spacing:
        """Voxel size in mm along D, H and W."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL, sheared grids included."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def orientation(self) -> str:
        """Direction in which i, j and k grow, as three letters such as ``"RAS"``."""
        return "".join(nib.aff2axcodes(self.affine))

    @property
    def is_oblique(self) -> bool:
        """Whether an axis leaves its world axis by more than a thousandth of its length."""
        directions = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool((np.abs(directions).max(axis=0) < 1 - 1e-6).any())

    def world(self, voxels_dhw: np.ndarray) -> np.ndarray:
        """Return world RAS mm, ``(..., 3)``, of voxel coordinates ``(..., 3)`` along D, H, W."""
        ijk = np.asarray(voxels_dhw, dtype=np.float64)[..., ::-1]
        return ijk @ self.affine[:3, :3].T + self.affine[:3, 3]

    def voxel(self, world_ras: np.ndarray) -> np.ndarray:
        """Return voxel coordinates along D, H, W of world RAS mm; the inverse of `world`."""
        inverse = np.linalg.inv(self.affine)
        ijk = np.asarray(world_ras, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]
        return ijk[..., ::-1]

    def corners(self) -> np.ndarray:
        """Return the world positions, ``(8, 3)``, of the centres of the corner voxels."""
        ends = np.array([[0, n - 1] for n in self.shape_dhw])
        voxels = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(8, 3)
        return self.world(voxels)

    def difference(self, other: Grid) -> str | None:
        """Return in words how another grid differs from this one, or None if they are the same."""
        if self.shape_dhw != other.shape_dhw:
            return f"the sizes are {times(self.shape_dhw)} and {times(other.shape_dhw)} voxels"
        apart = np.linalg.norm(self.corners() - other.corners(), axis=1).max()
        if apart <= SAME_GRID_TOLERANCE * min(self.spacing_dhw):
            return None
        if self.orientation != other.orientation:
            return (
                f"the voxels are stored in the orders {self.orientation} and {other.orientation}, "
                f"{apart:.1f} mm apart at a corner"
            )
        mine, theirs = np.array(self.spacing_dhw), np.array(other.spacing_dhw)
        if not np.allclose(mine, theirs, rtol=1e-3):
            return f"the voxel sizes are {times(mine.round(4))} and {times(theirs.round(4))} mm"
        shift = other.corners()[0] - self.corners()[0]
        steps = ", ".join(f"{mm:+.2f} mm {way}" for mm, way in zip(shift, _WAYS, strict=True))
        return f"the positions differ by up to {apart:.2f} mm (first voxel: {steps})"

    def strided(self, shape_dhw: Size, stride_dhw: Spacing, offset_dhw: Spacing) -> Grid:
        """Return the grid whose voxel u lies at voxel ``offset + stride * u`` of this one."""
        step = np.eye(4)
        step[:3, :3] = np.diag(tuple(stride_dhw)[::-1])
        step[:3, 3] = tuple(offset_dhw)[::-1]
        return Grid(shape_dhw, self.affine @ step)

    def resized(self, shape_dhw: Size) -> Grid:
        """Return a grid of another size that covers exactly the same box."""
        stride = tuple(a / b for a, b in zip(self.shape_dhw, shape_dhw, strict=True))
        offset = tuple((s - 1) / 2 for s in stride)
        return self.strided(shape_dhw, stride, offset)  # type: ignore[arg-type]

    def cropped(self, start_dhw: Size, shape_dhw: Size) -> Grid:
        """Return the part that starts at a voxel; a negative start pads."""
        return self.strided(shape_dhw, (1.0, 1.0, 1.0), start_dhw)

    def reoriented(self, orientation: str) -> Grid:
        """Return the same voxels in another storage order, such as ``"RAS"``."""
        change = storage_change(self.affine, orientation)
        shape_ijk = self.shape_dhw[::-1]
        i, j, k = (shape_ijk[source] for source in np.argsort(change[:, 0]))
        return Grid((k, j, i), self.affine @ inv_ornt_aff(change, shape_ijk))


def require_same_grid(first: Grid, second: Grid, *, names: tuple[str, str]) -> None:
    """Raise a `GridMismatchError` that says how two grids differ, if they do."""
    how = first.difference(second)
    if how is not None:
        raise GridMismatchError(
            f"The {names[0]} and the {names[1]} are on different grids: {how}. "
            f"Resample one onto the other, or check that they belong together."
        )


def affine_for_itk(affine: np.ndarray) -> np.ndarray:
    """Return the affine with world LPS, as ITK and DICOM count it; its own inverse."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def storage_change(affine: np.ndarray, orientation: str) -> np.ndarray:
    """Return nibabel's recipe for storing voxels in another order."""
    wished = nib.orientations.axcodes2ornt(orientation)
    return nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), wished)


_WAYS = ("right", "anterior", "superior")


def times(sizes: Any) -> str:
    """Return sizes in words, such as ``"3 x 4 x 5"``."""
    return " x ".join(f"{float(n):g}" for n in sizes)
