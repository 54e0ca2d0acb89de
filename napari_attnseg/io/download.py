"""Fetch a file from the web: gone on with after a cut, checked by its hash, never left half."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

_PIECE = 1 << 20
_TIMEOUTS = (20, 60)
_ATTEMPTS = 5
_PARTIAL, _COMPLETE, _NOT_SATISFIABLE = 206, 200, 416


class DataError(ValueError):
    """Data that cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Step:
    """How far something is.

    Args:
        what: ``"downloading"``, ``"checking"`` or ``"unpacking"``.
        done, total: Bytes; the total is 0 while it is not known.
    """

    what: str
    done: int
    total: int


Steps = Generator[Step, None, bool]
ShouldStop = Callable[[], bool]


def never() -> bool:
    """Return that nobody asks to stop."""
    return False


def downloading(url: str, path: Path, md5: str, should_stop: ShouldStop = never) -> Steps:
    """Fetch a file unless it is there; what an earlier call began is gone on with.

    What has come so far lies beside ``path`` as ``.part``. A file that does not match its hash is
    removed; one that was there before and does not match is refused and stays.

    Args:
        url: Of the file.
        path: Where to; its folder is made.
        md5: Of the whole file.
        should_stop: Asked after each step; what has come stays, to be gone on with.

    Returns:
        Whether the file is there; False if it was stopped.

    Raises:
        DataError: If there is no connection, no room, or what came is another file.
    """
    if path.exists():
        yield from _checked(path, md5)
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    was_begun = part.exists() and part.stat().st_size > 0
    while True:
        digest = yield from _fetched(url, part, should_stop)
        if digest is None:
            return False
        if digest == md5:
            os.replace(part, path)
            return True
        part.unlink()
        if not was_begun:
            raise DataError(
                f"What came from {url} is not the file that was asked for (its hash is {digest} "
                f"and should be {md5}); it was removed. Try again later, or from another network."
            )
        # What lay there may have been the beginning of another file.
        was_begun = False


def _checked(path: Path, md5: str) -> Generator[Step, None, None]:
    import pooch

    size = path.stat().st_size
    yield Step("checking", 0, size)
    found = pooch.file_hash(str(path), alg="md5")
    if found != md5:
        raise DataError(
            f"{str(path)!r} is there but is another file (its hash is {found} and should be "
            f"{md5}); move it away, or choose another folder with --out."
        )


def _fetched(url: str, part: Path, should_stop: ShouldStop) -> Generator[Step, None, str | None]:
    """Bring a part to its end, and return the hash of all of it; None if it was stopped."""
    import requests

    left = _ATTEMPTS
    while True:
        before = _size(part)
        try:
            return (yield from _one_connection(url, part, should_stop))
        except requests.RequestException as error:
            # Each attempt that brings something is followed by another.
            left = left - 1 if _size(part) == before else _ATTEMPTS
            if left <= 0 or before == _size(part) == 0:
                raise _broken(url, part, error) from error
        except OSError as error:
            raise _unwritten(part, error) from error


def _one_connection(
    url: str, part: Path, should_stop: ShouldStop
) -> Generator[Step, None, str | None]:
    import requests

    start = _size(part)
    headers = {"Range": f"bytes={start}-"} if start else {}
    # An encoded answer would be neither counted nor gone on with.
    headers["Accept-Encoding"] = "identity"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUTS) as answer:
        if answer.status_code == _NOT_SATISFIABLE and start:
            # All of it is here already, or something that is longer; the hash tells.
            return (yield from _hash(part, start)).hexdigest()
        _require_success(url, answer)
        if answer.status_code != _PARTIAL or _first_byte(answer) != start:
            start = 0
        total = start + int(answer.headers.get("Content-Length") or 0)
        _require_room(part.parent, 2 * total - start)
        digest = yield from _hash(part, start) if start else _nothing()
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            done = start
            for piece in answer.iter_content(_PIECE):
                file.write(piece)
                digest.update(piece)
                done += len(piece)
                yield Step("downloading", done, max(total, done))
                if should_stop():
                    return None
            file.flush()
            os.fsync(file.fileno())
    if done < total:
        raise requests.ConnectionError(f"{done} of {total} bytes came")
    return str(digest.hexdigest())


def _nothing() -> Generator[Step, None, Any]:
    return hashlib.md5(usedforsecurity=False)
    yield


def _hash(path: Path, size: int) -> Generator[Step, None, Any]:
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            done += len(piece)
            yield Step("checking", done, size)
    return digest


def _first_byte(answer: requests.Response) -> int:
    told = answer.headers.get("Content-Range", "")
    number = told.removeprefix("bytes").strip().partition("-")[0]
    return int(number) if number.isdecimal() else -1


def _require_success(url: str, answer: requests.Response) -> None:
    if answer.status_code in (_COMPLETE, _PARTIAL):
        return
    raise DataError(
        f"The server does not give {url}: it answers {answer.status_code} {answer.reason}. "
        "Try again later; the data set may have moved."
    )


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"The data need {needed / 1e9:.2f} GB while they are unpacked, and only "
            f"{free / 1e9:.2f} GB are free in {str(folder.absolute())!r}; free some, or choose "
            "another folder with --out."
        )


def _broken(url: str, part: Path, error: Exception) -> DataError:
    came = _size(part)
    host = url.split("/")[2]
    if not came:
        return DataError(
            f"{host} cannot be reached ({type(error).__name__}); check the connection to the "
            "internet, or the proxy in HTTPS_PROXY."
        )
    return DataError(
        f"The connection to {host} broke after {came / 1e6:.1f} MB; run the same command again to "
        "go on from there."
    )


def _unwritten(part: Path, error: OSError) -> DataError:
    return DataError(
        f"{str(part)!r} cannot be written: {error.strerror or error}. What has come stays; free "
        "some space and run the same command again."
    )


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
