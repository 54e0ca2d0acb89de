"""Voxels that stay in their file; a slice reads no more of it than it needs.

Memory maps would do as well but for two things: a file that another program cuts short ends a
process that has mapped it, and pages that were looked at count as its memory.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io.format import VolumeError

_PIECE = 4 << 20
"""Bytes read at once; also what a slice needs beyond its own size."""

_CHUNK = 8 << 20
_SPARSE = 4
"""Where less than this fraction of a stretch is needed, its parts are read one by one."""

_numbers = itertools.count()


class FileVoxels:
    """An array in a file, slowest axis first, read by slicing; several threads may do so.

    Args:
        path: The file; it stays open.
        start: The byte at which the voxels begin.
        dtype: Of the stored voxels; slices come in native byte order.
        shape: Of the array.
    """

    def __init__(self, path: Path, start: int, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = dtype.newbyteorder("=")
        self._name = path.name
        self._start = start
        self._stored = dtype
        sizes = [*itertools.accumulate(shape[:0:-1], lambda a, b: a * b, initial=dtype.itemsize)]
        self._strides = tuple(sizes[::-1])
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def as_dask(self) -> Any:
        """Return a Dask array of these voxels, in chunks of some megabytes."""
        import dask.array as da

        left, chunks = _CHUNK // self.dtype.itemsize, []
        for size in self.shape[::-1]:
            chunks.append(max(min(size, left), 1))
            left //= chunks[-1]
        meta = np.empty((0,) * self.ndim, self.dtype)
        name = f"file-voxels-{os.getpid()}-{next(_numbers)}"
        return da.from_array(self, tuple(chunks[::-1]), name=name, fancy=False, meta=meta)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return a part as an array of its own; whole numbers and slices select it."""
        parts = index if isinstance(index, tuple) else (index,)
        parts = (*parts, *[slice(None)] * (self.ndim - len(parts)))
        ranges = [
            range(*part.indices(size)) if isinstance(part, slice) else _one(part, size)
            for part, size in zip(parts, self.shape, strict=True)
        ]
        out = np.empty([len(one) for one in ranges], self._stored)
        if out.size:
            # Backward ranges are read forward, and turned by the view they are read into.
            turned = tuple(slice(None, None, -1 if one.step < 0 else 1) for one in ranges)
            self._read(out[turned], [_forward(one) for one in ranges], self._start)
        if not self._stored.isnative:
            out = out.byteswap(inplace=True).view(self.dtype)
        whole = tuple(slice(None) if isinstance(part, slice) else 0 for part in parts)
        return out[whole]

    def _read(self, out: np.ndarray, ranges: list[range], start: int) -> None:
        """Fill an array from ascending ranges of the axes that are left."""
        axis = self.ndim - len(ranges)
        first, *rest = ranges
        inner = self._extent(rest, axis + 1)
        stride = self._strides[axis]
        span = (len(first) - 1) * first.step * stride + inner
        is_sparse = rest and inner * _SPARSE < first.step * stride
        if span <= _PIECE and not (is_sparse and inner > 512):
            self._pick(out, ranges, start)
            return
        step = 1 if is_sparse else max(_PIECE // (first.step * stride), 1)
        for at in range(0, len(first), step):
            some = first[at : at + step]
            part = out[at : at + step]
            if len(some) == 1 and rest:
                self._read(part[0], rest, start + some[0] * stride)
            else:
                self._pick(part, [some, *rest], start)

    def _pick(self, out: np.ndarray, ranges: list[range], start: int) -> None:
        """Read one stretch of the file and take from it what is wanted."""
        axis = self.ndim - len(ranges)
        lows = sum(one[0] * s for one, s in zip(ranges, self._strides[axis:], strict=True))
        content = self._bytes(start + lows, self._extent(ranges, axis))
        strides = [one.step * s for one, s in zip(ranges, self._strides[axis:], strict=True)]
        shape = [len(one) for one in ranges]
        out[...] = np.ndarray(shape, self._stored, content, strides=strides)

    def _extent(self, ranges: list[range], axis: int) -> int:
        """Return bytes from the first to the last voxel of ranges, both included."""
        steps = zip(ranges, self._strides[axis:], strict=True)
        return sum((one[-1] - one[0]) * stride for one, stride in steps) + self.dtype.itemsize

    def _bytes(self, start: int, count: int) -> bytearray:
        content = bytearray(count)
        view, at = memoryview(content), 0
        while at < count:
            found = self._read_at(view[at:], start + at)
            if not found:
                raise VolumeError(
                    f"{self._name!r} has become shorter since it was opened; open it again."
                )
            at += found
        return content

    def _read_at(self, view: memoryview, start: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [view], start)
        with self._lock:
            self._file.seek(start)
            return self._file.readinto(view) or 0


def _one(index: int, size: int) -> range:
    at = int(index) + size if index < 0 else int(index)
    if not 0 <= at < size:
        raise IndexError(f"There is no voxel {index} along an axis of {size}.")
    return range(at, at + 1)


def _forward(one: range) -> range:
    return one if one.step > 0 else one[::-1]
