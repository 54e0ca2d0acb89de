"""GIPL, Guy's image processing lab format: no directions, few types, one header of 256 bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io import header_text
from napari_attnseg.io.atomic import atomic_write
from napari_attnseg.io.format import FORMATS, HeaderError, VolumeError
from napari_attnseg.io.gzip_stream import encoded_sink, is_gzip, open_source
from napari_attnseg.io.stored import RAW, Stored, read_stored
from napari_attnseg.io.voxels import as_held, write_voxels
from napari_attnseg.volume import Storage, Volume, affine_for_itk

_HEADER = np.dtype(
    [
        ("size", ">u2", 4),
        ("type", ">u2"),
        ("spacing", ">f4", 4),
        ("patient", "S80"),
        ("matrix", ">f4", 20),
        ("flags", "u1", 2),
        ("range", ">f8", 2),
        ("origin", ">f8", 4),
        ("scaling", ">f4", 2),
        ("user", ">f4", 2),
        ("magic", ">u4"),
    ]
)
_MAGICS = (0xEFFFE9B0, 719555000)
_TYPES = {
    7: "int8", 8: "uint8", 15: "int16", 16: "uint16", 31: "uint32", 32: "int32",
    64: "float32", 65: "float64",
}  # fmt: skip
_WRITTEN = {"int8": 7, "uint8": 8, "int16": 15, "uint16": 16, "float32": 64, "float64": 65}
_LARGEST_AXIS = 65535
_MATRIX = (
    "The file holds a matrix whose meaning no program agrees on; as in ITK it is not used, so "
    "directions may be wrong."
)
_INSTEAD = "write a smaller type, or .nii.gz, .nrrd or .mha, which hold it"


@FORMATS.register("gipl")
class Gipl:
    """GIPL, ``.gipl`` and ``.gipl.gz``."""

    suffixes: tuple[str, ...] = (".gipl.gz", ".gipl")
    named_suffixes: tuple[str, ...] = ()

    def read(self, path: Path) -> Volume:
        """Return the volume in a file, placed in LPS without directions, as ITK does.

        Raises:
            VolumeError: If the file is damaged or holds what is not a volume.
        """
        return read_stored(self, path)

    def stored(self, path: Path) -> Stored:
        """Return where the voxels are, once the header has passed every check."""
        return _stored(path)

    def write(self, path: Path, volume: Volume) -> None:
        """Write a volume whose axes grow towards L, P and S.

        Raises:
            VolumeError: If GIPL has no such type or size, or cannot place the volume.
            OSError: If the file cannot be written; what was there stays.
        """
        data = as_held(volume.data, _WRITTEN, path, _INSTEAD, big_endian=True)
        header = _header_for(volume, data, path)
        encoding = "gzip" if path.name.lower().endswith(".gz") else "raw"
        with atomic_write(path) as file, encoded_sink(file, encoding) as sink:
            sink.write(header.tobytes())
            write_voxels(sink, data)


def _stored(path: Path) -> Stored:
    with open_source(path) as source:
        start = source.read(_HEADER.itemsize)
    if len(start) < _HEADER.itemsize:
        raise HeaderError("is cut off: a GIPL header has 256 bytes")
    header = np.frombuffer(start, _HEADER)[0]
    if int(header["magic"]) not in _MAGICS:
        raise HeaderError("is not a GIPL file; its header lacks the mark of one")
    i, j, k, channels = (int(n) for n in header["size"])
    # Programs leave the axes that are not used at 0 or 1.
    shape = header_text.checked_sizes((max(channels, 1), max(k, 1), j, i))
    if int(header["type"]) not in _TYPES:
        raise HeaderError(
            f"holds a type with the code {int(header['type'])}; convert it to one number a voxel"
        )
    dtype = np.dtype(_TYPES[int(header["type"])]).newbyteorder(">")
    affine = _affine(header)
    warnings = [_MATRIX] if header["matrix"].any() else []
    # An axis of size 0 does not exist, one of size 1 does.
    ndim = 4 if channels > 1 else 3 if k > 0 else 2

    def finish(data: Any, more: list[str]) -> Volume:
        extra = {"format": "GIPL", "warnings": (*more, *warnings), "gipl": start}
        storage = Storage(ndim=ndim, dtype=dtype.name, format="gipl", extra=extra)
        return Volume(data, affine, storage=storage)

    encoding = "gzip" if is_gzip(path) else RAW
    return Stored(path, dtype, shape, finish, encoding, skip=_HEADER.itemsize)


def _affine(header: np.void) -> np.ndarray:
    with np.errstate(all="ignore"):
        spacing = [float(mm) for mm in header["spacing"][:3]]
        if int(header["size"][2]) < 2 and spacing[2] == 0:
            spacing[2] = 1.0
        if not all(mm > 0 for mm in spacing):
            raise HeaderError(f"has a damaged header: the spacing is {spacing}")
        placed = header_text.affine_of(np.diag(spacing).tolist(), header["origin"][:3].tolist())
        return header_text.checked_place(affine_for_itk(placed))


def _header_for(volume: Volume, data: np.ndarray, path: Path) -> np.ndarray:
    if max(data.shape) > _LARGEST_AXIS:
        raise VolumeError(
            f"{path.name!r} cannot hold more than {_LARGEST_AXIS} voxels along an axis; "
            "write .nrrd or .mha."
        )
    placed = affine_for_itk(volume.affine)
    steps = np.diag(placed)[:3]
    if not (steps > 0).all() or not np.array_equal(placed[:3, :3], np.diag(steps)):
        raise VolumeError(
            f"{path.name!r} cannot say how the volume lies: GIPL holds no directions, and "
            f"its axes grow towards {volume.orientation} instead of straight to LPS; write "
            ".nii.gz, .nrrd or .mha."
        )
    header = np.zeros((), _HEADER)
    kept = volume.storage.extra.get("gipl") if volume.storage is not None else None
    if kept is not None:
        header = np.frombuffer(kept, _HEADER)[0].copy()
    header["size"] = data.shape[::-1]
    header["type"] = _WRITTEN[data.dtype.name]
    header["spacing"][:3] = steps
    header["spacing"][3] = header["spacing"][3] or 1
    header["origin"][:3] = placed[:3, 3]
    header["magic"] = _MAGICS[0]
    # What was the range of other voxels, or a matrix, is not that of these.
    header["range"] = header["matrix"] = 0
    return header
