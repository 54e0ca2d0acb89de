"""STL surfaces of label maps, for printing; written, never read.

Corners are in mm and, as Slicer and most medical programs expect, in world LPS; the header says so
(``SPACE=LPS``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_attnseg.io.atomic import atomic_write
from napari_attnseg.io.format import FORMATS, VolumeError
from napari_attnseg.io.labels import as_label_map, values_in
from napari_attnseg.io.mesh import surface
from napari_attnseg.volume import Volume, affine_for_itk

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
# A binary file must not begin with "solid", which marks one of text.
_HEADER = b"Surface of a label map, mm. SPACE=LPS".ljust(80)


@FORMATS.register("stl")
class Stl:
    """STL, binary, ``.stl``: the surfaces of all classes in one file."""

    suffixes: tuple[str, ...] = ()
    named_suffixes: tuple[str, ...] = (".stl",)

    def read(self, path: Path) -> Volume:
        """Refuse: a surface is no volume.

        Raises:
            VolumeError: Always.
        """
        raise VolumeError(f"{path.name!r} is a surface and holds no voxels; open its label map.")

    def write(self, path: Path, volume: Volume) -> None:
        """Write the surface of each class of a label map, each closed by itself.

        Raises:
            VolumeError: If the voxels are no labels, or all are background.
            OSError: If the file cannot be written; what was there stays.
        """
        labels = as_label_map(volume, path)
        values = _values(labels, path)
        _write(path, [_surface(labels, value) for value in values])


def write_stl_of_classes(path: Path, volume: Volume) -> list[Path]:
    """Write one file for each class of a label map and return their paths.

    The name of a class, or its value, is put before the ending: ``case_liver.stl``.

    Raises:
        VolumeError: If the voxels are no labels, or all are background.
        OSError: If a file cannot be written; what was there stays.
    """
    labels = as_label_map(volume, path)
    written: list[Path] = []
    for value in _values(labels, path):
        name = volume.classes.get(value, f"class {value}")
        safe = "".join(one if one.isalnum() or one in "-_." else "_" for one in name)
        target = path.with_name(f"{path.stem}_{safe}.stl")
        if target in written:
            target = path.with_name(f"{path.stem}_{safe}_{value}.stl")
        _write(target, [_surface(labels, value)])
        written.append(target)
    return written


def _values(labels: Volume, path: Path) -> list[int]:
    values = [value for value in values_in(labels.data[0]) if value > 0]
    if not values:
        raise VolumeError(f"{path.name!r} would be empty: every voxel is background.")
    return values


def _surface(labels: Volume, value: int) -> np.ndarray:
    to_lps = affine_for_itk(np.eye(4))[:3, :3]
    # Turning two axes around keeps the triangles' sense.
    return surface(labels.data[0] == value, labels.grid) @ to_lps


def _write(path: Path, surfaces: list[np.ndarray]) -> None:
    corners = np.concatenate(surfaces)
    records = np.zeros(len(corners), _TRIANGLE)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records["normal"] = np.divide(normals, lengths, out=normals, where=lengths > 0)
    records["corners"] = corners
    with atomic_write(path) as file:
        file.write(_HEADER + np.uint32(len(records)).tobytes())
        file.write(records.tobytes())
