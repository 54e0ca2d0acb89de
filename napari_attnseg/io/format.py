"""What a file format must offer, and the registry of those there are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from napari_attnseg.registry import Registry
from napari_attnseg.volume import Volume

CHANNEL_SUFFIX = "_0000"
"""Ending that nnU-Net gives the first channel of a case."""


class VolumeError(ValueError):
    """A file that is refused; the message names it, says what is wrong and what to do."""


class Format(Protocol):
    """One file format; registered under its name, made without arguments."""

    suffixes: tuple[str, ...]

    def read(self, path: Path) -> Volume:
        """Return the volume that a file holds, checked to its last byte."""

    def write(self, path: Path, volume: Volume) -> None:
        """Write a volume, whole or not at all, over what was there."""


FORMATS: Registry[type[Format]] = Registry("file format", "napari_attnseg.io.formats")


def known_suffixes() -> tuple[str, ...]:
    """Return every suffix that can be read, longest first."""
    suffixes = {one for part in FORMATS.values() for one in part.suffixes}
    return tuple(sorted(suffixes, key=lambda one: (-len(one), one)))


def known_suffix(path: str | Path) -> str | None:
    """Return the suffix in lower case by which a file's format is known, or None."""
    name = Path(path).name.lower()
    return next((one for one in known_suffixes() if name.endswith(one)), None)


def stem(path: str | Path) -> str:
    """Return a case's name: the file's, without its suffix and nnU-Net's ``_0000``."""
    name = Path(path).name
    suffix = known_suffix(name)
    name = name[: -len(suffix)] if suffix else name
    return name.removesuffix(CHANNEL_SUFFIX) or name


def format_of(path: Path) -> Format:
    """Return the format that a file's name asks for.

    Raises:
        VolumeError: If no format has that suffix.
    """
    suffix = known_suffix(path)
    for part in FORMATS.values():
        if suffix in part.suffixes:
            return part()
    known = ", ".join(sorted(known_suffixes()))
    raise VolumeError(f"{path.name!r} has no ending of a known volume format; known are {known}.")
