"""NIfTI-1 and NIfTI-2, in one file or as a pair, plain or compressed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np

from napari_attnseg.io import nifti_header
from napari_attnseg.io.atomic import atomic_write
from napari_attnseg.io.class_names import classes_in, extension_of
from napari_attnseg.io.format import FORMATS, HeaderError
from napari_attnseg.io.gzip_stream import Source, encoded_sink, is_gzip, open_source
from napari_attnseg.io.nifti_header import Header, Place
from napari_attnseg.io.stored import RAW, Stored, read_stored
from napari_attnseg.io.voxels import as_held, write_voxels
from napari_attnseg.volume import Storage, Volume

_LARGEST_NIFTI1_AXIS = 32767
_LABEL_INTENT = 1002
_INSTEAD = "convert them to float32 or an integer type"
_PAIR_MAGIC = {False: b"ni1\0", True: b"ni2\0\r\n\x1a\n"}
_LARGEST_EXTENSIONS = 16 << 20


@FORMATS.register("nifti")
class Nifti:
    """NIfTI-1 and NIfTI-2, ``.nii``, ``.nii.gz`` and the pair ``.hdr`` and ``.img``."""

    suffixes: tuple[str, ...] = (".nii.gz", ".nii", ".hdr")
    named_suffixes: tuple[str, ...] = (".img", ".hdr.gz", ".img.gz")

    def read(self, path: Path) -> Volume:
        """Return the volume in a file, its stream read to the end and checked.

        Stored axes ``(i, j, k, t)`` become ``(C, D, H, W)`` without a copy. NaN is kept.

        Raises:
            VolumeError: If the file is damaged or holds what is not a volume.
        """
        return read_stored(self, path)

    def stored(self, path: Path) -> Stored:
        """Return where the voxels are, once the header has passed every check."""
        return _stored_pair(path) if _half(path) else _stored(path)

    def write(self, path: Path, volume: Volume) -> None:
        """Write a volume as its own file was stored, or with both forms if it had none.

        Raises:
            VolumeError: If NIfTI has no such type.
            OSError: If the file cannot be written; what was there stays.
        """
        data = as_held(volume.data, nifti_header.TYPES.values(), path, _INSTEAD)
        header = _header_for(volume, data)
        if _half(path):
            header["vox_offset"] = 0
            header["magic"] = _PAIR_MAGIC[isinstance(header, nib.Nifti2Header)]
        with _open_sinks(path) as (start, body):
            start.write(header.binaryblock)
            start.write(extension_of(volume.classes))
            write_voxels(body, data)


def _stored(path: Path) -> Stored:
    with open_source(path) as source:
        header = _read_header(source)
        if nifti_header.is_pair(header):
            raise HeaderError("is the header of a NIfTI pair; name it .hdr, beside its .img")
        extensions = _read_extensions(source, header)
    return _with_voxels(path, header, extensions, _content_warnings(path))


def _stored_pair(path: Path) -> Stored:
    start, body = _halves(path)
    with open_source(start) as source:
        header = _read_header(source)
        extensions = source.read(_LARGEST_EXTENSIONS)
        source.drain()
    if not nifti_header.is_pair(header):
        raise HeaderError("is a single NIfTI file by its header; name it .nii")
    with open_source(body) as source:
        offset = float(header["vox_offset"])
        if not 0 <= offset <= source.largest:
            raise HeaderError(_misplaced(offset))
    return _with_voxels(body, header, extensions, [])


def _half(path: Path) -> bool:
    """Return whether a name is that of half a pair."""
    return path.name.lower().removesuffix(".gz").endswith((".hdr", ".img"))


def _halves(path: Path) -> tuple[Path, Path]:
    """Return the header and the voxels of the pair to which a file belongs.

    Raises:
        HeaderError: If one of them is not there.
    """
    found = []
    for ending in (".hdr", ".img"):
        name = _half_name(path, ending)
        both = [path.with_name(name), path.with_name(f"{name}.gz")]
        there = [one for one in both if one.is_file() and one.stat().st_size]
        if not there:
            raise HeaderError(f"is half of a pair whose other half, {name!r}, is not beside it")
        found.append(there[0])
    return found[0], found[1]


def _half_name(path: Path, ending: str) -> str:
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return name[:-4] + (ending.upper() if name[-4:].isupper() else ending)


def _read_header(source: Source) -> Header:
    start = source.read(348)
    if start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c"):
        start += source.read(540 - 348)
    return nifti_header.parse(start)


def _with_voxels(path: Path, header: Header, extensions: bytes, warnings: list[str]) -> Stored:
    shape = nifti_header.shape_ijk(header)
    found = nifti_header.place(header, shape)
    dtype, scaling = nifti_header.stored_type(header), nifti_header.scaling(header)

    def finish(data: Any, more: list[str]) -> Volume:
        data = data if scaling is None else _scaled(data, *scaling)
        storage = _storage(header, shape, found, [*warnings, *more, *found.warnings])
        classes = classes_in(extensions, header.endianness)
        return Volume(data, found.affine, storage=storage, classes=classes)

    return Stored(
        path=path,
        dtype=dtype,
        shape=_as_cdhw(shape),
        finish=finish,
        encoding="gzip" if is_gzip(path) else RAW,
        skip=int(header["vox_offset"]),
    )


def _read_extensions(source: Source, header: Header) -> bytes:
    offset, at = float(header["vox_offset"]), len(header.binaryblock)
    if not at + 4 <= offset <= source.largest:
        raise HeaderError(_misplaced(offset))
    return source.read(int(offset) - at)


def _misplaced(offset: float) -> str:
    return f"has a damaged header: the voxels are said to begin at byte {offset:g}"


def _as_cdhw(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a stored shape of two or more axes as C, D, H, W."""
    padded = [*shape, 1, 1]
    return tuple(padded[3::-1])


def _scaled(data: Any, slope: float, intercept: float) -> Any:
    """Return real intensities: float64 stays, all else becomes float32."""
    kind = np.dtype(np.float64 if data.dtype == np.float64 else np.float32)
    if not isinstance(data, np.ndarray):
        return data.map_blocks(_scaled, slope, intercept, dtype=kind)
    out = np.empty(data.shape, dtype=kind)
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


@contextmanager
def _open_sinks(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Give the files of header and voxels, which are one unless they are a pair."""
    encoding = "gzip" if path.name.lower().endswith(".gz") else "raw"
    with ExitStack() as stack:
        names = [_half_name(path, one) for one in (".hdr", ".img")] if _half(path) else [path.name]
        if _half(path) and encoding == "gzip":
            names = [f"{name}.gz" for name in names]
        files = [stack.enter_context(atomic_write(path.with_name(name))) for name in names]
        sinks = [stack.enter_context(encoded_sink(file, encoding)) for file in files]
        yield sinks[0], sinks[-1]


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
