"""MetaImage: ``.mha``, and ``.mhd`` with its data file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_attnseg.io import header_text, metaimage_header
from napari_attnseg.io.atomic import atomic_write
from napari_attnseg.io.format import FORMATS, HeaderError
from napari_attnseg.io.gzip_stream import MAGIC, encoded_sink
from napari_attnseg.io.metaimage_header import MetaImageHeader
from napari_attnseg.io.stored import RAW, TEXT, Stored, contiguous, read_stored
from napari_attnseg.io.voxels import as_held, write_voxels
from napari_attnseg.volume import Storage, Volume

_INSTEAD = "convert them to float32 or an integer type"
_WRITTEN = (
    "ObjectType", "NDims", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData",
    "CompressedDataSize", "DimSize", "AnatomicalOrientation", "ElementNumberOfChannels",
    "ElementType", "ElementDataFile", "HeaderSize", *metaimage_header.PLACING,
)  # fmt: skip
_COMPRESSED = {
    True: {"CompressedData": "True", "CompressedDataSize": " " * 20},
    False: {"CompressedData": "False"},
}


@FORMATS.register("metaimage")
class MetaImage:
    """MetaImage, ``.mha`` and ``.mhd``."""

    suffixes: tuple[str, ...] = (".mha", ".mhd")
    named_suffixes: tuple[str, ...] = ()

    def read(self, path: Path) -> Volume:
        """Return the volume in a file, its stream read to the end and checked.

        Raises:
            VolumeError: If the file is damaged or holds what is not a volume.
        """
        return read_stored(self, path)

    def stored(self, path: Path) -> Stored:
        """Return where the voxels are, once the header has passed every check."""
        return _stored(path)

    def write(self, path: Path, volume: Volume) -> None:
        """Write a volume in the byte order and compression its file had; channels together.

        Raises:
            VolumeError: If MetaImage has no such type.
            OSError: If the file cannot be written; what was there stays.
        """
        storage = volume.storage
        kept = storage.extra if storage and storage.format == "metaimage" else {}
        is_big = kept.get("endian") == "big"
        data = as_held(volume.data, metaimage_header.TYPE_NAMES, path, _INSTEAD, big_endian=is_big)
        fields = _fields(volume, data, kept)
        encoding = kept.get("encoding", "zlib")
        with _open_files(path, fields, encoding) as (header, body):
            at = _write_header(header, fields)
            start = body.tell()
            with encoded_sink(body, encoding) as sink:
                write_voxels(sink, data, is_interleaved="ElementNumberOfChannels" in fields)
            if at:
                size = body.tell() - start
                header.seek(at)
                header.write(str(size).encode())


def _stored(path: Path) -> Stored:
    with path.open("rb") as file:
        header = metaimage_header.read_header(file)
    shape = metaimage_header.sizes(header)
    count = metaimage_header.channels(header)
    if count > 1 and len(shape) == 4 and shape[3] > 1:
        raise HeaderError("has channels and a fourth axis; save one time at a time")
    warnings: list[str] = []
    dtype = metaimage_header.stored_type(header)
    affine = metaimage_header.affine(header, shape, warnings)
    if header_text.is_sheared(affine):
        warnings.append(header_text.SHEARED)
    if _is_rescaled(header):
        warnings.append("The file names a scale of intensities; as in ITK it is not applied.")
    times, depth = [1, 1, *shape[:1:-1]][-2:]
    full = (times, depth, shape[1], shape[0], count)
    where, start, encoding = _place_of_voxels(path, header, math.prod(full) * dtype.itemsize)
    extra = {
        "format": "MetaImage",
        "encoding": "raw" if encoding == TEXT else encoding,
        "endian": "big" if dtype.byteorder == ">" else "little",
        "placing": {
            name: header.fields[name] for name in metaimage_header.PLACING if name in header.fields
        },
        "fields": {name: one for name, one in header.fields.items() if name not in _WRITTEN},
    }

    def finish(data: Any, more: list[str]) -> Volume:
        told = {**extra, "warnings": (*warnings, *more)}
        storage = Storage(ndim=len(shape), dtype=dtype.name, format="metaimage", extra=told)
        data = data[..., 0] if count == 1 else np.moveaxis(data[0], -1, 0)
        return Volume(contiguous(data), affine, storage=storage)

    return Stored(where, dtype, full, finish, encoding, start)


def _place_of_voxels(path: Path, header: MetaImageHeader, size: int) -> tuple[Path, int, str]:
    """Return the file that holds the voxels, the byte at which they begin, and the encoding."""
    where, start = _where(path, header)
    (skip,) = header_text.whole_numbers(header.fields.get("HeaderSize", "0"), "HeaderSize", 1)
    encoding = RAW if header.is_true("BinaryData", otherwise=True) else TEXT
    if header.is_true("CompressedData", otherwise=False):
        if encoding == TEXT:
            raise HeaderError("holds compressed text; save it as binary data")
        encoding = _compression(where, start, header)
    elif skip == -1:
        start = where.stat().st_size - size
    if skip < -1 or start < 0:
        raise HeaderError("is cut off: it holds fewer bytes than its header promises")
    return where, start + max(skip, 0), encoding


def _where(path: Path, header: MetaImageHeader) -> tuple[Path, int]:
    """Return the file that holds the voxels and the byte at which they begin."""
    name = header.fields["ElementDataFile"]
    if name.upper() == "LOCAL":
        return path, header.length
    if name.upper().startswith("LIST") or "%" in name:
        raise HeaderError("spreads its voxels over several files; convert it to one file")
    return header_text.beside(path, name), 0


def _compression(path: Path, start: int, header: MetaImageHeader) -> str:
    text = header.fields.get("CompressedDataSize", "0")
    (claimed,) = header_text.whole_numbers(text, "CompressedDataSize", 1)
    there = path.stat().st_size - start
    if claimed > there:
        raise HeaderError(f"is cut off: it holds {there} of {claimed} compressed bytes")
    with path.open("rb") as file:
        file.seek(start)
        return "gzip" if file.read(2) == MAGIC else "zlib"


def _is_rescaled(header: MetaImageHeader) -> bool:
    slope = header.fields.get("ElementToIntensityFunctionSlope", "1")
    offset = header.fields.get("ElementToIntensityFunctionOffset", "0")
    return header_text.numbers(slope, "the slope", 1) != (1.0,) or header_text.numbers(
        offset, "the offset of intensities", 1
    ) != (0.0,)


def _fields(volume: Volume, data: np.ndarray, kept: Mapping[str, Any]) -> dict[str, str]:
    ndim = volume.storage.ndim if volume.storage else 3
    is_fourth = ndim == 4 and bool(kept)
    is_slice = ndim == 2 and data.shape[1] == 1 and header_text.is_flat(volume.affine)
    count = 2 if is_slice else 3
    sizes = data.shape[:0:-1][:count]
    if is_fourth:
        count, sizes = 4, (*sizes, len(data))
    fields = {
        "ObjectType": "Image",
        "NDims": str(count),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(data.dtype.byteorder == ">"),
        **_COMPRESSED[kept.get("encoding") != "raw"],
        **_place(volume, kept, count, sizes),
        **kept.get("fields", {}),
        "DimSize": " ".join(map(str, sizes)),
    }
    if len(data) > 1 and not is_fourth:
        fields["ElementNumberOfChannels"] = str(len(data))
    fields["ElementType"] = metaimage_header.TYPE_NAMES[data.dtype.name]
    fields["ElementDataFile"] = "LOCAL"
    return fields


def _place(
    volume: Volume, kept: Mapping[str, Any], count: int, sizes: tuple[int, ...]
) -> dict[str, str]:
    """Return the fields that place a volume: its own file's, while they still do."""
    made = metaimage_header.placing_fields(volume, count)
    if not kept:
        return made
    try:
        told = metaimage_header.affine(MetaImageHeader(dict(kept["placing"])), sizes, [])
    except HeaderError:
        return made
    if not np.array_equal(told, volume.affine):
        return made
    return {**kept["placing"], "AnatomicalOrientation": made["AnatomicalOrientation"]}


def _write_header(file: BinaryIO, fields: dict[str, str]) -> int:
    """Write a header and return the place of the compressed size, known at the end; 0 if none."""
    at = 0
    for name, value in fields.items():
        if name == "CompressedDataSize":
            at = file.tell() + len(f"{name} = ")
        file.write(f"{name} = {value}\n".encode())
    return at


@contextmanager
def _open_files(
    path: Path, fields: dict[str, str], encoding: str
) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Give the files of header and voxels, which are one in a ``.mha``."""
    if path.name.lower().endswith(".mha"):
        with atomic_write(path) as file:
            yield file, file
        return
    beside = path.with_suffix(".raw" if encoding == "raw" else ".zraw")
    fields["ElementDataFile"] = beside.name
    with atomic_write(path) as header, atomic_write(beside) as body:
        yield header, body
