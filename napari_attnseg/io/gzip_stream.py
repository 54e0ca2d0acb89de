"""Bytes of a plain or gzip file as a stream that is checked to its end.

ISA-L is two to three times faster than zlib; where its wheel is missing zlib does the same work.
Both check every member's CRC and length, which is how flipped bits and lost ends are found.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from napari_attnseg.io.format import VolumeError

try:
    from isal import igzip_lib
    from isal.igzip import IGzipFile

    GzipFile: type[gzip.GzipFile] = IGzipFile
    _DAMAGE = (gzip.BadGzipFile, cast(type[Exception], igzip_lib.error))
except ImportError:  # the wheel exists for all common machines, not for all
    GzipFile = gzip.GzipFile
    _DAMAGE = (gzip.BadGzipFile, zlib.error)

MAGIC = b"\x1f\x8b"
LEVEL = 1
LARGEST_RATIO = 1040
"""Deflate cannot shrink further (1032 to 1), so a header that promises more lies."""

_PIECE = 1 << 20
"""Bytes asked for at once: the copy that GzipFile.readinto makes then stays in the cache."""


def is_gzip(path: Path) -> bool:
    """Return whether a file's content, whatever its name says, is a gzip stream."""
    with path.open("rb") as file:
        return file.read(2) == MAGIC


class Source:
    """A stream of a file's decompressed bytes.

    Args:
        path: The file, plain or gzip.
    """

    def __init__(self, path: Path, file: BinaryIO, largest: int) -> None:
        self.name = path.name
        self.largest = largest
        self._file = file

    def read(self, count: int) -> bytes:
        """Return the next bytes; fewer only at the end of the file."""
        with self._damage_named():
            return self._file.read(count)

    def fill(self, buffer: memoryview) -> int:
        """Fill a buffer of bytes and return how many there were."""
        filled = 0
        with self._damage_named():
            while filled < len(buffer):
                count = cast(Any, self._file).readinto(buffer[filled : filled + _PIECE])
                if not count:
                    break
                filled += count
        return filled

    def drain(self) -> int:
        """Read to the end, so that every checksum is compared; return how many bytes came."""
        count = 0
        while block := self.read(_PIECE):
            count += len(block)
        return count

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except EOFError as error:
            raise VolumeError(
                f"{self.name!r} ends too early: the compressed data is cut off. "
                "Copy it again from its source."
            ) from error
        except _DAMAGE as error:
            raise VolumeError(
                f"{self.name!r} is damaged: its compressed data fails the check ({error}). "
                "Copy it again from its source."
            ) from error


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a plain or gzip file by its content."""
    size = path.stat().st_size
    if not is_gzip(path):
        with path.open("rb") as file:
            yield Source(path, file, size)
        return
    with path.open("rb") as raw, GzipFile(fileobj=raw, mode="rb") as file:
        yield Source(path, cast(BinaryIO, file), size * LARGEST_RATIO)


@contextmanager
def gzip_sink(file: BinaryIO) -> Iterator[BinaryIO]:
    """Give a file that compresses into another; the same bytes in give the same bytes out."""
    with GzipFile(filename="", fileobj=file, mode="wb", compresslevel=LEVEL, mtime=0) as sink:
        yield cast(BinaryIO, sink)
