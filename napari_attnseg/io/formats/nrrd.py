"""NRRD, attached or detached, and Slicer's segmentations (``.seg.nrrd``)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_attnseg.io import header_text, nrrd_header, segments
from napari_attnseg.io.atomic import atomic_write
from napari_attnseg.io.format import FORMATS, HeaderError, VolumeError
from napari_attnseg.io.gzip_stream import encoded_sink
from napari_attnseg.io.labels import values_in
from napari_attnseg.io.nrrd_header import NrrdHeader
from napari_attnseg.io.stored import RAW, TEXT, Stored, contiguous, read_stored
from napari_attnseg.io.voxels import as_held, write_voxels
from napari_attnseg.volume import Storage, Volume

_DATA_SUFFIXES = {"raw": ".raw", "gzip": ".raw.gz", "bzip2": ".raw.bz2"}
_INSTEAD = "convert them to float32 or an integer type"


@FORMATS.register("nrrd")
class Nrrd:
    """NRRD, ``.nrrd``, ``.nhdr`` with its data file, and ``.seg.nrrd``."""

    suffixes: tuple[str, ...] = (".seg.nrrd", ".nrrd", ".nhdr")
    named_suffixes: tuple[str, ...] = ()

    def read(self, path: Path) -> Volume:
        """Return the volume in a file, its stream read to the end and checked.

        Segments of several layers become one label map where they do not overlap, and one channel
        each where they do.

        Raises:
            VolumeError: If the file is damaged or holds what is not a volume.
        """
        return read_stored(self, path)

    def stored(self, path: Path) -> Stored:
        """Return where the voxels are, once the header has passed every check."""
        return _stored(path)

    def write(self, path: Path, volume: Volume) -> None:
        """Write a volume in the space, byte order and encoding its file had; LPS if it had none.

        Names of classes are kept as Slicer's segments.

        Raises:
            VolumeError: If NRRD has no such type, or a segmentation holds no labels.
            OSError: If the file cannot be written; what was there stays.
        """
        storage = volume.storage
        kept = storage.extra if storage and storage.format == "nrrd" else {}
        is_big = kept.get("endian") == "big"
        data = as_held(volume.data, nrrd_header.TYPE_NAMES, path, _INSTEAD, big_endian=is_big)
        pairs = {**kept.get("pairs", {}), **_segment_pairs(path, volume, data)}
        encoding = kept.get("encoding", "gzip")
        is_interleaved = kept.get("channel_axis") != "last"
        fields = _fields(volume, data, kept)
        with _open_files(path, fields, encoding) as (header, body):
            header.write(_header_text(fields, pairs))
            with encoded_sink(body, encoding) as sink:
                write_voxels(sink, data, is_interleaved=is_interleaved)


def _stored(path: Path) -> Stored:
    header = _read_header(path)
    shape = nrrd_header.sizes(header)
    encoding = nrrd_header.encoding_of(header)
    dtype = nrrd_header.stored_type(header, encoding)
    axes = nrrd_header.axes(header, shape)
    place = nrrd_header.place(header, axes, shape)
    if header_text.is_sheared(place.affine):
        place.warnings.append(header_text.SHEARED)
    where, start, skip = _place_of_voxels(
        path, header, encoding, math.prod(shape) * dtype.itemsize
    )
    pairs = header.pairs.items()
    extra = {
        "format": "NRRD",
        "encoding": "raw" if encoding == TEXT else encoding,
        "endian": "big" if dtype.byteorder == ">" else "little",
        "space": place.space,
        "time": place.time,
        "spatial": len(axes.spatial),
        "channel_axis": "last" if axes.channel else "first",
        "pairs": {key: one for key, one in pairs if not segments.is_segment_key(key)},
    }

    def finish(data: Any, more: list[str]) -> Volume:
        data = _as_cdhw(data, axes, shape)
        found = _segments(header, data)
        data, classes = segments.merged(data, found) if found else (data, {})
        told = {**extra, "warnings": (*place.warnings, *more), "segments": tuple(found)}
        ndim = len(axes.spatial) + (axes.channel is not None and not classes)
        storage = Storage(ndim=ndim, dtype=data.dtype.name, format="nrrd", extra=told)
        names = tuple(one.name for one in found) if found and not classes else ()
        return Volume(data, place.affine, storage=storage, classes=classes, channels=names)

    is_lazy = not segments.segments_in(header.pairs)
    return Stored(where, dtype, shape[::-1], finish, encoding, start, skip, is_lazy)


def _read_header(path: Path) -> NrrdHeader:
    with path.open("rb") as file:
        if not path.name.lower().endswith(".nhdr"):
            return nrrd_header.read_header(file)
        # A detached header may end where its file ends.
        text = file.read(header_text.LARGEST_HEADER)
    return nrrd_header.read_header(io.BytesIO(text.rstrip() + b"\n\n"))


def _place_of_voxels(
    path: Path, header: NrrdHeader, encoding: str, size: int
) -> tuple[Path, int, int]:
    """Return the file of the voxels, where their stream begins, and bytes to skip in it."""
    where, start = path, header.length
    if "data file" in header.fields:
        where, start = header_text.beside(path, header.fields["data file"]), 0
    start = _skip_lines(where, start, header)
    skip = _skipped(header, "byte skip")
    if skip < 0:
        if encoding != RAW:
            raise HeaderError("has a damaged header: its voxels end a file but are compressed")
        start, skip = where.stat().st_size - size, 0
        if start < 0:
            raise HeaderError("is cut off: it holds fewer bytes than its header promises")
    return where, start, skip


def _skip_lines(path: Path, start: int, header: NrrdHeader) -> int:
    count = _skipped(header, "line skip")
    with path.open("rb") as file:
        file.seek(start)
        for _ in range(count):
            if not file.readline():
                raise HeaderError("is cut off: it ends before its voxels begin")
        return file.tell()


def _skipped(header: NrrdHeader, name: str) -> int:
    (count,) = header_text.whole_numbers(header.fields.get(name, "0"), f"the {name}", 1)
    if count < (-1 if name == "byte skip" else 0):
        raise HeaderError(f"has a damaged header: the {name} is {count}")
    return count


def _as_cdhw(data: np.ndarray, axes: nrrd_header.Axes, shape: tuple[int, ...]) -> np.ndarray:
    """Return a stored array as ``(C, D, H, W)``."""
    last = len(shape) - 1
    spatial = [last - axis for axis in axes.spatial[::-1]]
    others = [axis for axis in range(len(shape)) if axis not in spatial]
    sizes = [data.shape[axis] for axis in spatial]
    sizes = [1] * (3 - len(sizes)) + sizes
    channels = math.prod(data.shape[axis] for axis in others)
    return contiguous(data.transpose(*others, *spatial).reshape(channels, *sizes))


def _segments(header: NrrdHeader, data: np.ndarray) -> list[segments.Segment]:
    found = [one for one in segments.segments_in(header.pairs) if one.value > 0]
    if not found or data.dtype.kind not in "iu":
        return []
    if max(one.layer for one in found) >= len(data):
        raise HeaderError("has a damaged header: it names a segment in a layer that is not there")
    return found


def _segment_pairs(path: Path, volume: Volume, data: np.ndarray) -> dict[str, str]:
    """Return what tells Slicer of classes, if there are any or the name asks for them."""
    is_named = path.name.lower().endswith(".seg.nrrd")
    if not is_named and not volume.classes:
        return {}
    if data.dtype.kind not in "iu" or data.min() < 0:
        if is_named:
            raise VolumeError(
                f"{path.name!r} would be a segmentation, but the voxels are no labels; "
                "name it .nrrd."
            )
        return {}
    known = volume.storage.extra.get("segments", ()) if volume.storage else ()
    fields = {one.name: one.fields for one in known}
    if len(data) > 1:
        return _layer_pairs(path, volume, data)
    values = sorted({*volume.classes, *(one for one in values_in(data[0]) if one > 0)})
    names = {value: volume.classes.get(value, f"class {value}") for value in values}
    made = [segments.Segment(name, v, 0, fields.get(name, {})) for v, name in names.items()]
    return segments.pairs_of(made, data.shape[1:])


def _layer_pairs(path: Path, volume: Volume, data: np.ndarray) -> dict[str, str]:
    if data.max() > 1:
        raise VolumeError(
            f"{path.name!r} would be a segmentation, but its {len(data)} channels hold more than "
            "0 and 1; save one map of class values."
        )
    names = volume.channels or tuple(f"segment {n + 1}" for n in range(len(data)))
    made = [segments.Segment(name, 1, layer) for layer, name in enumerate(names)]
    return segments.pairs_of(made, data.shape[1:])


def _fields(volume: Volume, data: np.ndarray, kept: Mapping[str, Any]) -> dict[str, str]:
    space = kept.get("space", "left-posterior-superior")
    ndim = volume.storage.ndim if volume.storage else 3
    is_slice = kept.get("spatial", ndim) == 2 and data.shape[1] == 1
    # ITK asks for as many axes as the space has.
    count = 2 if is_slice and header_text.is_flat(volume.affine) else 3
    affine = nrrd_header.TO_RAS[space] @ volume.affine
    sizes = list(data.shape[:0:-1][:count])
    vectors = [list(affine[:count, axis]) for axis in range(count)]
    origin = list(affine[:count, 3])
    kinds = ["domain"] * count
    if len(data) > 1 or ndim == 4:
        at = count if kept.get("channel_axis") == "last" else 0
        sizes.insert(at, len(data))
        kinds.insert(at, "list")
        vectors.insert(at, [])
        if kept.get("time"):
            origin, vectors = _with_time(origin, vectors, kept["time"])
            space, kinds[at] = f"{space}-time", "time"
    return {
        "type": nrrd_header.TYPE_NAMES[data.dtype.name],
        "dimension": str(len(sizes)),
        **({"space dimension": "2"} if count == 2 else {"space": space}),
        "sizes": " ".join(map(str, sizes)),
        "space directions": " ".join(_vector(one) if one else "none" for one in vectors),
        "kinds": " ".join(kinds),
        "endian": "big" if data.dtype.byteorder == ">" else "little",
        "encoding": kept.get("encoding", "gzip"),
        "space origin": _vector(origin),
    }


def _with_time(
    origin: list[float], vectors: list[list[float]], time: tuple[float, float]
) -> tuple[list[float], list[list[float]]]:
    start, step = time
    still = [[*one, 0.0] if one else [0.0, 0.0, 0.0, step] for one in vectors]
    return [*origin, start], still


def _vector(values: list[float]) -> str:
    return f"({','.join(header_text.exactly(values))})"


def _header_text(fields: dict[str, str], pairs: dict[str, str]) -> bytes:
    lines = ["NRRD0005", *(f"{name}: {value}" for name, value in fields.items())]
    for key, value in pairs.items():
        escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", " ")
        lines.append(f"{key}:={escaped}")
    return ("\n".join(lines) + "\n\n").encode()


@contextmanager
def _open_files(
    path: Path, fields: dict[str, str], encoding: str
) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Give the files of header and voxels, which are one unless the header is detached."""
    if not path.name.lower().endswith(".nhdr"):
        with atomic_write(path) as file:
            yield file, file
        return
    beside = path.with_name(path.name[: -len(".nhdr")] + _DATA_SUFFIXES[encoding])
    fields["data file"] = beside.name
    with atomic_write(path) as header, atomic_write(beside) as body:
        yield header, body
