"""Parameter counts of all presets, kept on the disk: making two hundred networks takes a while."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

import pooch
import torch

LIBRARIES = ("monai", "einops")


class KnownCounts:
    """What was counted before, for the code as it is now; a change of any file counts anew.

    Args:
        folder: Where it is kept; the user's cache by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or Path(pooch.os_cache("napari-attnseg")) / "parameters"
        self._path = folder / f"{code_hash()}.json"
        self._counts: dict[str, int] = _read(self._path)
        self._is_new = False

    def get(self, name: str, count: Callable[[], int]) -> int:
        """Return the count of that name, counting where it is not known."""
        if name not in self._counts:
            self._counts[name] = count()
            self._is_new = True
        return self._counts[name]

    def save(self) -> None:
        """Write what is new; counts that cannot be kept are counted again next time."""
        if not self._is_new:
            return
        beside = self._path.with_name(f".{uuid4().hex}.part")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(self._counts), encoding="utf-8")
            os.replace(beside, self._path)
            _forget_others(self._path)
        self._is_new = False


def code_hash() -> str:
    """Return a hash of everything that decides what networks are made of."""
    folder = Path(__file__).parent
    told = [f"torch {torch.__version__}"]
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            told.append(f"{name} {version(name)}")
    for path in sorted(folder.rglob("*.py")):
        facts = path.stat()
        told.append(f"{path.relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:24]


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_sound = isinstance(found, dict) and all(type(one) is int for one in found.values())
    return found if is_sound else {}


def _forget_others(path: Path) -> None:
    for one in path.parent.glob("*.json"):
        if one != path:
            one.unlink(missing_ok=True)
