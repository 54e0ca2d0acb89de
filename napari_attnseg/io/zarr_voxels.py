"""The voxels of a Zarr array, decoded in the process of the decoders."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io.format import VolumeError
from napari_attnseg.io.isolation import DECODERS, DecoderCrashError

_SLAB = 64 << 20
"""Bytes asked for at once."""

_numbers = itertools.count()


class ZarrVoxels:
    """An array of a Zarr folder, read by slicing.

    Args:
        folder: Of the volume.
        array: Path of the array in it.
        shape: Of the array.
        dtype: Of its elements; truth values come as 0 and 1.
        chunks: Sizes of the stored chunks.
    """

    def __init__(
        self,
        folder: Path,
        array: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        chunks: tuple[int, ...],
    ) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
        self.chunks = chunks
        self._folder = folder
        self._path = str((folder / array).absolute())

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize

    def as_dask(self) -> Any:
        """Return a Dask array of these voxels, in the chunks in which they are stored."""
        import dask.array as da

        meta = np.empty((0,) * self.ndim, self.dtype)
        name = f"zarr-voxels-{os.getpid()}-{next(_numbers)}"
        return da.from_array(self, self.chunks, name=name, fancy=False, meta=meta)

    def read(self) -> np.ndarray:
        """Return all voxels."""
        try:
            out = np.empty(self.shape, self.dtype)
        except (MemoryError, ValueError) as error:
            raise VolumeError(
                f"{self._folder.name!r} is larger than this machine's memory."
            ) from error
        row = max(math.prod(self.shape[1:]) * self.dtype.itemsize, 1)
        chunk = max(self.chunks[0], 1)
        step = max(_SLAB // row // chunk, 1) * chunk
        for at in range(0, self.shape[0], step):
            out[at : at + step] = self[at : at + step]
        return out

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return a part as an array of its own; whole numbers and slices select it."""
        parts = index if isinstance(index, tuple) else (index,)
        parts = (*parts, *[slice(None)] * (self.ndim - len(parts)))
        ranges, turned = [], []
        for part, size in zip(parts, self.shape, strict=True):
            one = part if isinstance(part, slice) else slice(int(part), int(part) + 1 or None)
            found = range(*one.indices(size))
            turned.append(slice(None, None, -1) if found.step < 0 else slice(None))
            forward = found if found.step > 0 else found[::-1]
            ranges.append((forward.start, forward.stop, forward.step))
        if any(not range(*one) for one in ranges):
            values = np.empty([len(range(*one)) for one in ranges], self.dtype)
        else:
            values = self._decoded(ranges)[tuple(turned)]
        return values[tuple(slice(None) if isinstance(one, slice) else 0 for one in parts)]

    def _decoded(self, ranges: list[tuple[int, int, int]]) -> np.ndarray:
        request = {"decoder": "zarr", "path": self._path, "ranges": ranges}
        shape = [len(range(*one)) for one in ranges]
        try:
            told, values = DECODERS.ask(request, largest=math.prod(shape) * self.dtype.itemsize)
        except DecoderCrashError:
            raise refused(self._folder, "its reader crashed") from None
        if values is None or list(values.shape) != shape or values.dtype != self.dtype:
            raise refused(self._folder, str(told.get("error", "its chunks do not fit")))
        return values


def refused(folder: Path, why: str) -> VolumeError:
    """Return the refusal of a folder that is damaged."""
    text = " ".join("".join(one if one.isprintable() else " " for one in why).split())
    return VolumeError(
        f"{folder.name!r} is damaged, or no volume in Zarr ({text[:100]}); copy it again from its "
        "source."
    )
