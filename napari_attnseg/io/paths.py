"""Paths as a file holds them: relative to its folder wherever that is possible."""

from __future__ import annotations

import os
from pathlib import Path


def stored_path(path: str | Path, folder: Path) -> str:
    """Return a path relative to a folder, or absolute where they share no more than the root."""
    path, folder = Path(os.path.abspath(Path(path).expanduser())), folder.resolve()
    # The name stays: behind a link the data may have one that no format is known by.
    path = path.parent.resolve() / path.name
    # A way over the root of the file system breaks as soon as either end moves.
    is_near = path.parts[:2] == folder.parts[:2]
    return Path(os.path.relpath(path, folder)).as_posix() if is_near else path.as_posix()


def real_path(stored: str, folder: Path) -> Path:
    """Return the absolute path of what `stored_path` made."""
    return Path(os.path.normpath(folder.resolve() / stored))
