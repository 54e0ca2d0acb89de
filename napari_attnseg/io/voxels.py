"""The block of voxels in a file: read with its size checked first, written plane by plane."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_attnseg.io.format import HeaderError, VolumeError
from napari_attnseg.io.gzip_stream import Source

_HELD_AS = {"bool": "uint8", "float16": "float32"}
_TEXT_BATCH = 1 << 16


def read_voxels(source: Source, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of a shape in native byte order, the slowest axis first.

    Raises:
        HeaderError: If the stream holds less, or cannot hold as much as is promised.
    """
    needed = math.prod(shape) * dtype.itemsize
    if needed > source.largest:
        raise HeaderError(f"is cut off: its header promises {needed} bytes of voxels")
    stored = np.empty(needed, dtype=np.uint8)
    found = source.fill(stored.data)
    if found < needed:
        raise HeaderError(f"is cut off: it holds {found} of {needed} bytes of voxels")
    data = stored.view(dtype).reshape(shape)
    if not dtype.isnative:
        data = data.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return data


def read_text_voxels(source: Source, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of a shape from numbers written as text.

    Raises:
        HeaderError: If there are fewer or more numbers, or one that the type does not hold.
    """
    needed = math.prod(shape)
    if needed > source.largest:
        raise HeaderError(f"is cut off: its header promises {needed} numbers")
    words = source.read(source.largest).split()
    if len(words) != needed:
        raise HeaderError(f"holds {len(words)} numbers where its header promises {needed}")
    data = np.empty(needed, dtype=dtype.newbyteorder("="))
    read = float if dtype.kind == "f" else int
    try:
        for start in range(0, needed, _TEXT_BATCH):
            batch = words[start : start + _TEXT_BATCH]
            data[start : start + len(batch)] = [read(word) for word in batch]
    except (ValueError, OverflowError) as error:
        raise HeaderError(f"is damaged: a number is no {dtype.name} ({error})") from error
    return data.reshape(shape)


def write_voxels(sink: BinaryIO, data: Any, *, is_interleaved: bool = False) -> None:
    """Write ``(C, D, H, W)``, the channels one after the other or together in each voxel.

    Lazy voxels are read some planes at a time.
    """
    if is_interleaved:
        for planes in _slabs(data):
            for k in range(planes.shape[1]):
                _write_plane(sink, np.moveaxis(planes[:, k], 0, -1))
        return
    for channel in range(data.shape[0]):
        for planes in _slabs(data[channel : channel + 1]):
            for k in range(planes.shape[1]):
                _write_plane(sink, planes[0, k])


def _slabs(data: Any) -> Iterator[np.ndarray]:
    """Give an array in memory as it is, and a lazy one in the chunks of its planes."""
    if isinstance(data, np.ndarray):
        yield data
        return
    at = 0
    for depth in data.chunks[1]:
        yield np.asarray(data[:, at : at + depth])
        at += depth


def as_held(
    data: np.ndarray, held: Collection[str], path: Path, instead: str, *, big_endian: bool = False
) -> np.ndarray:
    """Return voxels in a type that a format holds, in a byte order.

    Args:
        data: Any array.
        held: Names of the types that the format holds.
        path: The file, for the message.
        instead: What to do with another type, as the end of a sentence.
        big_endian: Whether the first byte of a number is the largest.

    Raises:
        VolumeError: If the format has no such type.
    """
    dtype = np.dtype(_HELD_AS.get(data.dtype.name, data.dtype))
    if dtype.name not in held:
        raise VolumeError(f"{path.name!r} cannot hold {data.dtype.name} voxels; {instead}.")
    return data.astype(dtype.newbyteorder(">" if big_endian else "<"), copy=False)


def _write_plane(sink: BinaryIO, plane: np.ndarray) -> None:
    sink.write(np.ascontiguousarray(plane).data.cast("B"))
