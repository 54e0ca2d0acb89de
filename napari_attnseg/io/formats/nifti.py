"""NIfTI-1 and NIfTI-2 in one file, plain or compressed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np

from napari_attnseg.io import nifti_header
from napari_attnseg.io.atomic import atomic_write
from napari_attnseg.io.class_names import classes_in, extension_of
from napari_attnseg.io.format import FORMATS, VolumeError
from napari_attnseg.io.gzip_stream import Source, gzip_sink, is_gzip, open_source
from napari_attnseg.io.nifti_header import Header, HeaderError, Place
from napari_attnseg.volume import Storage, Volume

_LARGEST_NIFTI1_AXIS = 32767
_LABEL_INTENT = 1002
_HELD_AS = {"bool": "uint8", "float16": "float32"}


@FORMATS.register("nifti")
class Nifti:
    """NIfTI-1 and NIfTI-2, ``.nii`` and ``.nii.gz``."""

    suffixes: tuple[str, ...] = (".nii.gz", ".nii")

    def read(self, path: Path) -> Volume:
        """Return the volume in a file, its stream read to the end and checked.

        Stored axes ``(i, j, k, t)`` become ``(C, D, H, W)`` without a copy. NaN is kept.

        Raises:
            VolumeError: If the file is damaged or holds what is not a volume.
        """
        try:
            with open_source(path) as source:
                return _read(source, _content_warnings(path))
        except HeaderError as error:
            raise VolumeError(f"{path.name!r} {error}.") from error

    def write(self, path: Path, volume: Volume) -> None:
        """Write a volume as its own file was stored, or with both forms if it had none.

        Raises:
            VolumeError: If NIfTI has no such type.
            OSError: If the file cannot be written; what was there stays.
        """
        data = _writable(volume.data, path)
        header = _header_for(volume, data)
        with _open_sink(path) as file:
            file.write(header.binaryblock)
            file.write(extension_of(volume.classes))
            for channel in data:
                for plane in channel:
                    file.write(np.ascontiguousarray(plane).data.cast("B"))


def _read(source: Source, warnings: list[str]) -> Volume:
    start = source.read(348)
    if start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c"):
        start += source.read(540 - 348)
    header = nifti_header.parse(start)
    shape = nifti_header.shape_ijk(header)
    found = nifti_header.place(header, shape)
    extensions = _read_extensions(source, header, len(start))
    data = _read_voxels(source, header, shape)
    if source.drain():
        warnings = [*warnings, "More data follow the voxels; the header may claim too few."]
    storage = _storage(header, shape, found, [*warnings, *found.warnings])
    classes = classes_in(extensions, header.endianness)
    return Volume(data, found.affine, storage=storage, classes=classes)


def _read_extensions(source: Source, header: Header, at: int) -> bytes:
    offset = float(header["vox_offset"])
    if not at + 4 <= offset <= source.largest:
        raise HeaderError(f"has a damaged header: the voxels are said to begin at byte {offset:g}")
    return source.read(int(offset) - at)


def _read_voxels(source: Source, header: Header, shape: tuple[int, ...]) -> np.ndarray:
    """Return ``(C, D, H, W)`` in native byte order, scaled if the header says so."""
    dtype = nifti_header.stored_type(header)
    scaling = nifti_header.scaling(header)
    needed = math.prod(shape) * dtype.itemsize
    if needed > source.largest:
        raise HeaderError(f"is cut off: its header promises {needed} bytes of voxels")
    stored = np.empty(needed, dtype=np.uint8)
    found = source.fill(stored.data)
    if found < needed:
        raise HeaderError(f"is cut off: it holds {found} of {needed} bytes of voxels")
    channels, k, j, i = _as_cdhw(shape)
    data = stored.view(dtype).reshape(channels, k, j, i)
    if not dtype.isnative:
        data = data.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return data if scaling is None else _scaled(data, *scaling)


def _as_cdhw(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a stored shape of two or more axes as C, D, H, W."""
    padded = [*shape, 1, 1]
    return tuple(padded[3::-1])


def _scaled(data: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return real intensities: float64 stays, all else becomes float32."""
    out = np.empty(data.shape, dtype=np.float64 if data.dtype == np.float64 else np.float32)
    with np.errstate(over="ignore"):
        for plane in np.ndindex(data.shape[:2]):
            out[plane] = data[plane] * np.float64(slope) + np.float64(intercept)
    return out


def _storage(header: Header, shape: tuple[int, ...], found: Place, warnings: list[str]) -> Storage:
    version = 2 if isinstance(header, nib.Nifti2Header) else 1
    little = header.as_byteswapped("<")
    return Storage(
        ndim=len(shape),
        dtype=nifti_header.TYPES[int(header["datatype"])],
        qform=found.qform,
        qform_code=int(header["qform_code"]),
        sform=found.sform,
        sform_code=int(header["sform_code"]),
        units=_units(header),
        format="nifti",
        extra={
            "format": f"NIfTI-{version}",
            "header": little.binaryblock,
            "warnings": tuple(warnings),
        },
    )


def _header_for(volume: Volume, data: np.ndarray) -> Header:
    """Return a little-endian header: that of the volume's own file as far as it still holds."""
    shape = _stored_shape(volume, data)
    source = _source_header(volume)
    is_large = max(shape) > _LARGEST_NIFTI1_AXIS
    is_second = is_large or isinstance(source, nib.Nifti2Header)
    header = (nib.Nifti2Header if is_second else nib.Nifti1Header)(endianness="<")
    header.set_data_shape(shape)
    header.set_data_dtype(data.dtype)
    if source is not None and nifti_header.same_place(source, shape, volume.affine):
        nifti_header.copy_place(source, header)
    else:
        _set_place(header, volume)
    header["scl_slope"], header["scl_inter"] = 1, 0
    start = 544 if is_second else 352
    header["vox_offset"] = start + len(extension_of(volume.classes)) - 4
    if volume.classes:
        header["intent_code"] = _LABEL_INTENT
    return header


def _source_header(volume: Volume) -> Header | None:
    kept = volume.storage.extra.get("header") if volume.storage is not None else None
    return None if kept is None else nifti_header.parse(kept)


def _set_place(header: Header, volume: Volume) -> None:
    storage = volume.storage
    if storage is None:
        nifti_header.set_place(header, volume.grid)
        return
    nifti_header.set_place(header, volume.grid, storage.sform_code or storage.qform_code or 1)
    decides = storage.sform if storage.sform_code else storage.qform
    if decides is None or not np.allclose(decides, volume.affine, rtol=1e-6, atol=1e-6):
        return
    header["qform_code"] = header["sform_code"] = 0
    if storage.qform is not None and storage.qform_code:
        header.set_qform(storage.qform, storage.qform_code)
    if storage.sform is not None and storage.sform_code:
        header.set_sform(storage.sform, storage.sform_code)


def _stored_shape(volume: Volume, data: np.ndarray) -> tuple[int, ...]:
    """Return the shape ``(i, j, k, t...)`` with as many axes as the volume's file had."""
    channels, depth, height, width = data.shape
    needed = 4 if channels > 1 else 3 if depth > 1 else 2
    wished = volume.storage.ndim if volume.storage is not None else 3
    return (width, height, depth, channels, 1, 1, 1)[: max(needed, wished)]


def _writable(data: np.ndarray, path: Path) -> np.ndarray:
    dtype = np.dtype(_HELD_AS.get(data.dtype.name, data.dtype)).newbyteorder("<")
    if dtype.name not in nifti_header.TYPES.values():
        raise VolumeError(
            f"{path.name!r} cannot hold {data.dtype.name} voxels; convert them to float32 or an "
            "integer type."
        )
    return data.astype(dtype, copy=False)


@contextmanager
def _open_sink(path: Path) -> Iterator[BinaryIO]:
    with atomic_write(path) as file:
        if path.name.lower().endswith(".gz"):
            with gzip_sink(file) as sink:
                yield sink
        else:
            yield file


def _units(header: Header) -> tuple[str, str]:
    try:
        space, time = header.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"
    return space, time


def _content_warnings(path: Path) -> list[str]:
    is_named_gz = path.name.lower().endswith(".gz")
    if is_gzip(path) == is_named_gz:
        return []
    return [f"The file is {'not ' if is_named_gz else ''}compressed, unlike its name says."]
