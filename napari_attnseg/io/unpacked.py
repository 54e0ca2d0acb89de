"""Compressed volumes that are too large for memory, unpacked once into a folder of the user's.

What stands there is the voxels alone, under a name made of a hash: nothing of a patient's is in a
file's name. The folder keeps to a size; what was not looked at for longest goes first.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from napari_attnseg.io.format import HeaderError, VolumeError
from napari_attnseg.io.header_text import TRAILING
from napari_attnseg.io.stored import Stored

FOLDER_VARIABLE = "ATTNSEG_CACHE"
"""Environment variable that names another folder."""

LARGEST = 40 << 30
"""Bytes that the folder may hold; a single volume that is larger takes the place of all others."""

_SUFFIX, _UNFINISHED = ".voxels", ".part"
_PIECE = 16 << 20
_HEADER = 4096
_STALE_SECONDS = 86400.0


@dataclass(frozen=True)
class Progress:
    """How far the unpacking is, in bytes of voxels."""

    done: int
    total: int


@dataclass(frozen=True)
class Unpacked:
    """A file of plain voxels, and what its making warned of."""

    path: Path
    warnings: tuple[str, ...]


def cache_folder() -> Path:
    """Return the folder for unpacked volumes, which need not be there yet."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    home = Path.home()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "napari-attnseg" / "volumes"


def unpacking(
    stored: Stored,
    header: Path,
    *,
    folder: Path | None = None,
    largest: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, Unpacked | None]:
    """Unpack the voxels of a file, unless they lie there since the last time.

    The stream is read to its end and its checksums are compared before anything is kept.

    Args:
        stored: Where the file keeps its voxels.
        header: The file that was opened, which tells what they mean.
        folder: Where to; `cache_folder` by default.
        largest: Bytes that the folder may hold; `LARGEST` by default.
        should_stop: Asked after each step; what was begun is then removed.

    Returns:
        The file of voxels, or None if it was stopped.

    Raises:
        HeaderError: If the file holds less than its header promises.
        VolumeError: If it is damaged, or there is no room for it.
        OSError: If the folder cannot be written.
    """
    folder = folder or cache_folder()
    path = folder / f"{_key(stored, header)}{_SUFFIX}"
    found = _there(path, stored)
    if found is not None:
        return found
    if stored.size > stored.path.stat().st_size * _most(stored.encoding):
        raise HeaderError(f"is cut off: its header promises {stored.size} bytes of voxels")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _make_room(folder, stored.size + 1, largest or LARGEST, header.name)
    beside = folder / f"{uuid4().hex}{_UNFINISHED}"
    try:
        trailing = yield from _unpack(stored, beside, header.name, should_stop)
        if trailing is None:
            return None
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return _there(path, stored)


def clear(folder: Path | None = None) -> int:
    """Remove all unpacked volumes that are not open, and return the bytes that were freed."""
    return sum(_remove(one) for one, _, _ in _entries(folder or cache_folder()))


def _unpack(
    stored: Stored, path: Path, name: str, should_stop: Callable[[], bool]
) -> Generator[Progress, None, bool | None]:
    """Write voxels, and a byte that tells whether more followed them; None if stopped."""
    buffer = np.empty(min(_PIECE, stored.size), np.uint8).data
    done = 0
    with stored.source() as source, path.open("xb") as file:
        path.chmod(0o600)
        while done < stored.size:
            count = source.fill(buffer[: min(len(buffer), stored.size - done)])
            if not count:
                raise HeaderError(f"is cut off: it holds {done} of {stored.size} bytes of voxels")
            with _room_needed(path.parent, stored.size, name):
                file.write(buffer[:count])
            done += count
            yield Progress(done, stored.size)
            if should_stop():
                return None
        is_more = source.drain() > 0
        with _room_needed(path.parent, stored.size, name):
            file.write(bytes([is_more]))
            file.flush()
    return is_more


class _room_needed:  # noqa: N801 - reads as a statement
    """Turns an error of a full disk into a sentence."""

    def __init__(self, folder: Path, size: int, name: str) -> None:
        self._told = folder, size, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Only the disk's own words: nothing else may be hidden.
        if isinstance(error, OSError):
            raise _no_room(*self._told) from error


def _there(path: Path, stored: Stored) -> Unpacked | None:
    try:
        if path.stat().st_size != stored.size + 1:
            return None
        with path.open("rb") as file:
            file.seek(stored.size)
            is_more = file.read(1) == b"\1"
        os.utime(path)
    except OSError:
        return None
    return Unpacked(path, (TRAILING,) if is_more else ())


def _key(stored: Stored, header: Path) -> str:
    """Return a name that changes with the file's place, size, time and first bytes."""
    told = hashlib.sha256()
    for one in (header, stored.path):
        facts = one.stat()
        with one.open("rb") as file:
            start = file.read(_HEADER)
        told.update(f"{one.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
        told.update(start)
    told.update(f"{stored.start} {stored.skip} {stored.size}".encode())
    return told.hexdigest()[:40]


def _most(encoding: str) -> int:
    from napari_attnseg.io.gzip_stream import LARGEST_RATIO, LARGEST_RATIO_BZIP2

    return LARGEST_RATIO_BZIP2 if encoding == "bzip2" else LARGEST_RATIO


def _entries(folder: Path) -> list[tuple[Path, float, int]]:
    """Return the files of the folder with the time of their last use and their sizes."""
    found = []
    for one in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            facts = one.stat()
            found.append((one, facts.st_mtime, facts.st_size))
    return sorted(found, key=lambda entry: entry[1])


def _make_room(folder: Path, needed: int, largest: int, name: str) -> None:
    for one in folder.glob(f"*{_UNFINISHED}"):
        with suppress(OSError):
            if time.time() - one.stat().st_mtime > _STALE_SECONDS:
                one.unlink()
    entries = _entries(folder)
    total = sum(size for _, _, size in entries)
    for one, _, size in entries:
        if total + needed <= largest and shutil.disk_usage(folder).free >= needed:
            return
        if _remove(one):
            total -= size
    if shutil.disk_usage(folder).free < needed:
        raise _no_room(folder, needed, name)


def _remove(path: Path) -> int:
    # One that is open stays on Windows, and elsewhere stays readable for who has it open.
    with suppress(OSError):
        size = path.stat().st_size
        path.unlink()
        return size
    return 0


def _no_room(folder: Path, needed: int, name: str) -> VolumeError:
    free = shutil.disk_usage(folder).free
    return VolumeError(
        f"{name!r} has to be unpacked to be shown, which needs {needed / 1e9:.1f} GB, and "
        f"{free / 1e9:.1f} GB are free in {str(folder)!r}; free some, or name another folder in "
        f"{FOLDER_VARIABLE}."
    )
