"""Unpack a tar file into a folder of its own, and nothing anywhere else."""

from __future__ import annotations

import os
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from napari_attnseg.io.download import DataError, ShouldStop, Step, Steps, never

_PIECE = 1 << 20
_MOST_FILES = 100_000


def unpacking_archive(
    archive: Path, name: str, folder: Path, should_stop: ShouldStop = never
) -> Steps:
    """Unpack the files under one folder of an archive, whole or not at all.

    Only plain files with plain names are taken; hidden ones, which macOS leaves in archives, are
    left out.

    Args:
        archive: An uncompressed tar file.
        name: The folder in it, which is made in ``folder``.
        folder: Where to.
        should_stop: Asked after each step; what was begun is then removed.

    Returns:
        Whether it was unpacked; False if it was stopped.

    Raises:
        DataError: If the archive is damaged, or holds what would get out of its folder.
    """
    beside = folder / f".{name}.{uuid.uuid4().hex[:8]}.part"
    total, done = archive.stat().st_size, 0
    try:
        with tarfile.open(archive, "r:") as file:
            for member in _members(file, name, archive, total):
                target = beside.joinpath(*PurePosixPath(member.name).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = cast(IO[bytes], file.extractfile(member))
                with target.open("xb") as out:
                    while piece := source.read(_PIECE):
                        out.write(piece)
                        done += len(piece)
                        yield Step("unpacking", done, total)
                        if should_stop():
                            return False
                if target.stat().st_size != member.size:
                    raise _damaged(archive, f"{member.name!r} is cut off")
        if not (beside / name).is_dir():
            raise _damaged(archive, f"it holds no folder {name!r}")
        os.replace(beside / name, folder / name)
    except (tarfile.TarError, EOFError, UnicodeError, FileExistsError) as error:
        raise _damaged(archive, str(error)) from error
    except OSError as error:
        raise DataError(
            f"{archive.name!r} cannot be unpacked into {str(folder.absolute())!r}: "
            f"{error.strerror or error}. What was downloaded stays; free some space and run the "
            "same command again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return True


def _members(
    file: tarfile.TarFile, name: str, archive: Path, most: int
) -> Iterator[tarfile.TarInfo]:
    """Give the files to unpack, each of them judged before it is given."""
    size = 0
    for count, member in enumerate(file):
        parts = PurePosixPath(member.name).parts
        wrong = _wrong_with(member, parts)
        if wrong or count > _MOST_FILES:
            raise _damaged(archive, wrong or f"it holds more than {_MOST_FILES} files")
        size += member.size
        if size > most:
            raise _damaged(archive, "its files are larger than it is itself")
        is_hidden = any(part.startswith(".") for part in parts)
        if member.isreg() and parts[0] == name and not is_hidden:
            yield member


def _wrong_with(member: tarfile.TarInfo, parts: tuple[str, ...]) -> str:
    name = member.name
    if not parts or name.startswith("/") or ".." in parts or "\\" in name:
        return f"the name {name!r} leads out of its folder"
    if ":" in name or "\0" in name:
        return f"the name {name!r} is none for a file"
    if not (member.isreg() or member.isdir()):
        return f"{name!r} is a link or a device, no file"
    return ""


def _damaged(archive: Path, why: str) -> DataError:
    return DataError(
        f"{archive.name!r} is damaged, or not the archive that it should be: {why}. Remove it and "
        "run the same command again."
    )
