"""Where a file keeps its voxels, as its header tells, before they are read at once or lazily."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_attnseg.io.file_voxels import FileVoxels
from napari_attnseg.io.format import HeaderError, VolumeError
from napari_attnseg.io.gzip_stream import Source, open_part
from napari_attnseg.io.header_text import TRAILING
from napari_attnseg.io.voxels import read_text_voxels, read_voxels
from napari_attnseg.volume import Volume

RAW, TEXT = "raw", "text"


@dataclass(frozen=True)
class Stored:
    """The block of voxels in a file, and how it becomes a volume.

    Args:
        path: The file that holds the voxels, which need not be that of the header.
        dtype: Of the stored voxels, with their byte order.
        shape: Stored axes, the slowest first.
        finish: Makes the volume of the stored array, which may be a Dask array, and of warnings
            that its reading gave.
        encoding: ``"raw"``, ``"text"``, ``"gzip"``, ``"zlib"`` or ``"bzip2"``.
        start: Byte of the file at which the encoded stream begins.
        skip: Bytes of the decoded stream before the voxels.
        is_lazy: Whether ``finish`` takes a Dask array without reading all of it.
    """

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    finish: Callable[[Any, list[str]], Volume] = field(repr=False)
    encoding: str = RAW
    start: int = 0
    skip: int = 0
    is_lazy: bool = True

    @property
    def size(self) -> int:
        """Bytes of voxels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @contextmanager
    def source(self) -> Iterator[Source]:
        """Open the decoded stream where the voxels begin.

        Raises:
            HeaderError: If it ends before.
        """
        kind = RAW if self.encoding == TEXT else self.encoding
        with open_part(self.path, self.start, kind) as source:
            if not source.skip(self.skip):
                raise HeaderError("is cut off: it ends before its voxels begin")
            yield source

    def read(self) -> Volume:
        """Return the volume with all voxels in memory, the stream read to its end and checked.

        Raises:
            HeaderError: If the file holds less than its header promises.
            VolumeError: If compressed data is damaged.
        """
        with self.source() as source:
            read = read_text_voxels if self.encoding == TEXT else read_voxels
            data = read(source, self.dtype, self.shape)
            warnings = [TRAILING] if source.drain() else []
        return self.finish(data, warnings)

    def open(self) -> Volume:
        """Return the volume with the voxels of an uncompressed file read where they are sliced.

        Raises:
            HeaderError: If the file holds less than its header promises.
        """
        there = self.path.stat().st_size - self.start - self.skip
        if there < self.size:
            raise HeaderError(
                f"is cut off: it holds {max(there, 0)} of {self.size} bytes of voxels"
            )
        warnings = [TRAILING] if there > self.size else []
        return self.opened(self.path, self.start + self.skip, warnings)

    def opened(self, path: Path, start: int, warnings: list[str]) -> Volume:
        """Return the volume whose voxels stand as they are in a file from a byte on."""
        voxels = FileVoxels(path, start, self.dtype, self.shape)
        return self.finish(voxels.as_dask(), warnings)


class Mapped(Protocol):
    """A format that can tell where its files keep their voxels."""

    def stored(self, path: Path) -> Stored:
        """Return where the voxels are, once the header has passed every check.

        Raises:
            HeaderError: If the header is damaged or is not that of a volume.
        """


def read_stored(part: Mapped, path: Path) -> Volume:
    """Return the volume in a file; what is wrong with its header becomes a sentence with its name.

    Raises:
        VolumeError: If the file is damaged or holds what is not a volume.
    """
    try:
        return part.stored(path).read()
    except HeaderError as error:
        raise VolumeError(f"{path.name!r} {error}.") from error


def contiguous(data: Any) -> Any:
    """Return an array in memory in the order of its axes; what is lazy stays as it is."""
    return np.ascontiguousarray(data) if isinstance(data, np.ndarray) else data
