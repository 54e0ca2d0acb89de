"""The file ``project.json``: read when it has changed, written whole, by one process at a time."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_attnseg.cohort.content_check import fault_of
from napari_attnseg.io import atomic_write
from napari_attnseg.io.json_words import why_not_json
from napari_attnseg.io.locking import try_to_lock

FILE = "project.json"
LOCK = ".project.lock"
FORMAT = 1
PATIENCE_SECONDS = 20.0
_STEP_SECONDS = 0.02


class ProjectError(ValueError):
    """A project that cannot be used as asked; the message says why and what to do."""


class Ledger:
    """The content of a project file, shared with other processes.

    Reading looks whether the file has changed; `changing` holds a lock from reading to writing,
    so that a window and a training child never undo each other's changes.

    Args:
        folder: The project's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._seen: tuple[int, int, int] | None = None
        self._content: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Return the content as it is on disk now; not to be changed.

        Raises:
            ProjectError: If there is no such file, or it is damaged or from a later version.
        """
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._content = _parsed(self.path)
                self._seen = stamp
        except FileNotFoundError as error:
            raise ProjectError(
                f"There is no project in {str(self.folder)!r}: it holds no {FILE}. Choose a "
                "project's folder, or make a project there from a folder of cases (attnseg "
                "project PROJECT --cases FOLDER)."
            ) from error
        except OSError as error:
            raise ProjectError(f"{str(self.path)!r} cannot be read: {error.strerror}.") from error
        return self._content

    @contextmanager
    def changing(self, *, is_new: bool = False) -> Iterator[dict[str, Any]]:
        """Give the content to change; it is written at the end unless an error is raised.

        Args:
            is_new: Whether the file is made, and nothing is read.

        Raises:
            ProjectError: If the folder cannot be written, or another process keeps the lock.
        """
        with self._locked():
            if is_new and self.path.exists():
                raise ProjectError(f"{str(self.folder)!r} is a project already; open it instead.")
            content = {} if is_new else copy.deepcopy(self.read())
            yield content
            with told_plainly(self.path), atomic_write(self.path) as file:
                file.write(json.dumps(content, indent=1, ensure_ascii=False).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with told_plainly(self.path):
            file = (self.folder / LOCK).open("a+b")
        with file:
            until = time.monotonic() + PATIENCE_SECONDS
            while not try_to_lock(file):
                if time.monotonic() > until:
                    raise ProjectError(
                        f"Another program keeps {str(self.folder)!r} locked; close it and try "
                        "again."
                    )
                time.sleep(_STEP_SECONDS)
            yield

    def _stamp(self) -> tuple[int, int, int]:
        status = os.stat(self.path)
        return status.st_mtime_ns, status.st_size, status.st_ino


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into a `ProjectError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProjectError(
            f"The project folder {str(path.parent)!r} cannot be written ({reason}). Nothing was "
            "changed; choose another folder, or free some space or give yourself the right to "
            "write there."
        ) from error


def refuse_file(path: Path) -> None:
    """Refuse a file in place of a project folder.

    Raises:
        ProjectError: If it is a file, other than the project's own.
    """
    if path.is_file() and path.name != FILE:
        raise ProjectError(f"{str(path)!r} is a file; a project is a folder.")


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, why_not_json(error)) from error
    if isinstance(content, dict) and _is_later(content.get("format")):
        raise ProjectError(
            f"The project {str(path.parent)!r} was made by a later version of this program; "
            "update it."
        )
    fault = fault_of(content)
    if fault is not None:
        raise _damaged(path, fault)
    return dict(content)


def _is_later(version: Any) -> bool:
    return isinstance(version, int) and version > FORMAT


def _damaged(path: Path, fault: str) -> ProjectError:
    return ProjectError(
        f"{str(path)!r} is damaged: {fault}. Restore it from a copy; the labels and runs beside "
        "it are untouched."
    )
