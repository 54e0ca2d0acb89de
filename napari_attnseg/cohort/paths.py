"""Paths as a project file holds them: relative to the project wherever that is possible."""

from __future__ import annotations

import os
from pathlib import Path


def stored_path(path: str | Path, folder: Path) -> str:
    """Return a path relative to a folder, or absolute where no relative one exists."""
    path = Path(path).expanduser().resolve()
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def real_path(stored: str, folder: Path) -> Path:
    """Return the absolute path of what `stored_path` made."""
    return Path(os.path.normpath(folder.resolve() / stored))
