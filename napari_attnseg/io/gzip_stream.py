"""Bytes of a plain or compressed file as a stream that is checked to its end.

ISA-L is two to three times faster than zlib; where its wheel is missing zlib does the same work.
Both check every member's CRC and length, which is how flipped bits and lost ends are found.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from napari_attnseg.io.format import VolumeError

try:
    from isal import igzip_lib, isal_zlib
    from isal.igzip import IGzipFile

    GzipFile: type[gzip.GzipFile] = IGzipFile
    _decompressor: Callable[[], Any] = isal_zlib.decompressobj
    _members: Callable[[], Any] | None = functools.partial(
        igzip_lib.IgzipDecompressor, flag=igzip_lib.DECOMP_GZIP
    )
    _DAMAGE = (gzip.BadGzipFile, cast(type[Exception], igzip_lib.error))
except ImportError:  # the wheel exists for all common machines, not for all
    GzipFile = gzip.GzipFile
    _decompressor = zlib.decompressobj
    _members = None
    _DAMAGE = (gzip.BadGzipFile, zlib.error)

MAGIC = b"\x1f\x8b"
LEVEL = 1
LARGEST_RATIO = 1040
"""Deflate cannot shrink further (1032 to 1), so a header that promises more lies."""

LARGEST_RATIO_BZIP2 = 10**6

_PACKED = 1 << 18
_PIECE = 1 << 20
"""Bytes asked for at once: the copy into the array then stays in the cache."""


def is_gzip(path: Path) -> bool:
    """Return whether a file's content, whatever its name says, is a gzip stream."""
    with path.open("rb") as file:
        return file.read(2) == MAGIC


class Source:
    """A stream of a file's decompressed bytes.

    Args:
        path: The file.
        file: What gives the decompressed bytes.
        largest: More bytes than this cannot come.
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

    def skip(self, count: int) -> bool:
        """Pass over bytes; return whether there were as many."""
        while count > 0:
            block = self.read(min(count, _PIECE))
            if not block:
                return False
            count -= len(block)
        return True

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
        except OSError as error:
            # bz2 tells damage with an error that carries no number; gzip with a kind of its own.
            if error.errno is not None:
                raise
            raise self._damaged(error) from error
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> VolumeError:
        return VolumeError(
            f"{self.name!r} is damaged: its compressed data fails the check ({error}). "
            "Copy it again from its source."
        )


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a plain or gzip file by its content."""
    size = path.stat().st_size
    if not is_gzip(path):
        with path.open("rb") as file:
            yield Source(path, file, size)
        return
    with path.open("rb", buffering=0) as raw:
        yield Source(path, _unpacked(raw), size * LARGEST_RATIO)


@contextmanager
def open_part(path: Path, start: int, encoding: str) -> Iterator[Source]:
    """Open what stands in a file from a byte on.

    Args:
        path: The file.
        start: The first byte.
        encoding: ``"raw"``, ``"gzip"``, ``"zlib"`` or ``"bzip2"``.
    """
    size = max(path.stat().st_size - start, 0)
    with path.open("rb") as raw:
        raw.seek(start)
        if encoding == "raw":
            yield Source(path, raw, size)
        elif encoding == "gzip":
            yield Source(path, _unpacked(raw), size * LARGEST_RATIO)
        elif encoding == "zlib":
            yield Source(path, cast(BinaryIO, _Inflated(raw)), size * LARGEST_RATIO)
        else:
            with bz2.BZ2File(raw) as file:
                yield Source(path, cast(BinaryIO, file), size * LARGEST_RATIO_BZIP2)


@contextmanager
def encoded_sink(file: BinaryIO, encoding: str) -> Iterator[BinaryIO]:
    """Give a file whose bytes go into another, encoded as `open_part` reads them."""
    if encoding == "raw":
        yield file
    elif encoding == "zlib":
        sink = _Deflating(file)
        yield cast(BinaryIO, sink)
        sink.finish()
    elif encoding == "bzip2":
        with bz2.BZ2File(file, "wb") as packed:
            yield cast(BinaryIO, packed)
    else:
        with gzip_sink(file) as packed:
            yield packed


def _unpacked(file: Any) -> BinaryIO:
    """Return the decompressed bytes of a gzip stream."""
    packed = GzipFile(fileobj=file, mode="rb") if _members is None else _Unpacked(file, _members)
    return cast(BinaryIO, packed)


class _Unpacked:
    """Decompressed bytes of gzip members one after another, each compared with its checksum.

    A tenth faster than the file object of the library, which copies more.
    """

    def __init__(self, file: BinaryIO, member: Callable[[], Any]) -> None:
        self._file = file
        self._member = member
        self._state = member()
        self._rest = b""

    def read(self, count: int) -> bytes:
        pieces = []
        while count > 0 and (piece := self._next(count)):
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: memoryview) -> int:
        piece = self._next(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def _next(self, limit: int) -> bytes:
        while True:
            if self._state.eof and not self._begin_next():
                return b""
            packed, self._rest = self._rest, b""
            if not packed and self._state.needs_input:
                packed = self._file.read(_PACKED)
                if not packed:
                    raise EOFError
            piece = self._state.decompress(packed, limit)
            if piece:
                return cast(bytes, piece)

    def _begin_next(self) -> bool:
        """Go on to the next member, past zeros that tapes leave; False at the end of the file."""
        rest = self._state.unused_data.lstrip(b"\0")
        while not rest:
            more = self._file.read(_PACKED)
            if not more:
                return False
            rest = more.lstrip(b"\0")
        if rest[:1] != MAGIC[:1]:
            raise gzip.BadGzipFile("something else follows it")
        self._state = self._member()
        self._rest = rest
        return True


class _Inflated:
    """Decompressed bytes of a zlib stream, whose checksum is compared at its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._state = _decompressor()

    def read(self, count: int) -> bytes:
        pieces = []
        while count > 0 and (piece := self._next(count)):
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: memoryview) -> int:
        piece = self._next(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def _next(self, limit: int) -> bytes:
        while not self._state.eof:
            packed = self._state.unconsumed_tail or self._file.read(_PIECE)
            piece = self._state.decompress(packed, limit)
            if piece:
                return piece
            if not packed and not self._state.eof:
                raise EOFError
        # What follows the stream counts as data, so that it is noticed.
        return self._file.read(limit)


class _Deflating:
    """A sink that compresses into a file as a zlib stream."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._state = zlib.compressobj(LEVEL)

    def write(self, data: Any) -> int:
        return self._file.write(self._state.compress(data))

    def finish(self) -> None:
        self._file.write(self._state.flush())


@contextmanager
def gzip_sink(file: BinaryIO) -> Iterator[BinaryIO]:
    """Give a file that compresses into another; the same bytes in give the same bytes out."""
    with GzipFile(filename="", fileobj=file, mode="wb", compresslevel=LEVEL, mtime=0) as sink:
        yield cast(BinaryIO, sink)
