"""What a file format must offer, and the registry of those there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from napari_attnseg.registry import Registry
from napari_attnseg.volume import Volume

CHANNEL_SUFFIX = "_0000"
"""Ending that nnU-Net gives the first channel of a case."""


MOST_LISTED = 20
"""A message lists no more series than this."""


Remedy = Literal["resample", "longest-run"]
"""What may be done about an irregular series, never without being asked."""


class VolumeError(ValueError):
    """A file that is refused; the message names it, says what is wrong and what to do."""


class SeriesChoiceError(VolumeError):
    """Several series lie where one is asked for; the message lists them.

    Args:
        name: Of the place.
        titles: What each is called, with its number of slices; their numbers run from 1.
    """

    def __init__(self, name: str, titles: Sequence[str]) -> None:
        listed = [f"{at}: {title}" for at, title in enumerate(titles, start=1)]
        if len(listed) > MOST_LISTED:
            listed = [*listed[:MOST_LISTED], f"and {len(listed) - MOST_LISTED} more"]
        super().__init__(
            f"{name!r} holds {len(titles)} series; choose one by its number (series=1) or give "
            f"one file of it: {'; '.join(listed)}."
        )
        self.titles = tuple(titles)


class IrregularSeriesError(VolumeError):
    """Slices that make no regular grid, though a remedy exists that the user may ask for.

    Args:
        message: What is wrong, with the numbers.
        remedy: What `read_volume` does about it where it is asked to.
        heights: mm along the normal between which the slices are regular.
    """

    def __init__(
        self, message: str, remedy: Remedy, heights: tuple[float, float] | None = None
    ) -> None:
        super().__init__(message)
        self.remedy: Remedy = remedy
        self.heights = heights


class HeaderError(ValueError):
    """A header that cannot be used; the message completes "'file' ...", without a full stop."""


class Format(Protocol):
    """One file format; registered under its name, made without arguments.

    ``suffixes`` are the endings by which its files are found in folders; ``named_suffixes`` are
    those under which a file is opened or written only where it is named itself, such as the data
    half of a pair, or pictures, of which any folder may hold some that are no volumes.
    """

    suffixes: tuple[str, ...]
    named_suffixes: tuple[str, ...]

    def read(self, path: Path) -> Volume:
        """Return the volume that a file holds, checked to its last byte."""

    def write(self, path: Path, volume: Volume) -> None:
        """Write a volume, whole or not at all, over what was there."""


class FolderFormat(Protocol):
    """A format whose volume is a folder of files, such as one file a slice.

    ``is_marked`` tells whether a folder is known by a file that describes it, so that nothing else
    is looked for in it.
    """

    is_marked: bool

    def matches(self, folder: Path) -> bool:
        """Return whether a folder looks like one volume of this format."""

    def read_folder(self, folder: Path) -> Volume:
        """Return the volume that a folder holds, each file checked to its last byte."""


Choice = int | str | None
"""Which of several series is meant: its number from 1, its description, or None for the only."""


class SeriesFormat(Protocol):
    """A format whose volumes are spread over files, several in a folder, known by content."""

    def recognises(self, path: Path) -> bool:
        """Return whether a file is one of this format, or a folder holds such files."""

    def read(self, path: Path, series: Choice = None, remedy: Remedy | None = None) -> Volume:
        """Return the one volume at a path, or the chosen one; `VolumeError` lists several."""

    def volumes_in(self, folder: Path) -> list[tuple[Path, Callable[[], Volume]]]:
        """Return where each volume in a folder and below lies, with a function that reads it."""

    def referring(self, volume: Volume, source: Path, series: Choice = None) -> Volume:
        """Return a volume whose storage names the files of the series it belongs to."""


FORMATS: Registry[type[Format]] = Registry("file format", "napari_attnseg.io.formats")

FOLDER_FORMATS: Registry[type[FolderFormat]] = Registry(
    "folder format", "napari_attnseg.io.formats"
)

SERIES_FORMATS: Registry[type[SeriesFormat]] = Registry(
    "format of series", "napari_attnseg.io.formats"
)


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
    suffix = known_suffix(name) or _named_suffix(name)
    name = name[: -len(suffix)] if suffix else name
    return name.removesuffix(CHANNEL_SUFFIX) or name


def format_of(path: Path) -> Format:
    """Return the format that a file's name asks for.

    Raises:
        VolumeError: If no format has that suffix.
    """
    suffix = known_suffix(path) or _named_suffix(path.name)
    for part in FORMATS.values():
        if suffix in (*part.suffixes, *part.named_suffixes):
            return part()
    known = ", ".join(sorted(known_suffixes()))
    raise VolumeError(f"{path.name!r} has no ending of a known volume format; known are {known}.")


def series_format_of(path: Path) -> SeriesFormat | None:
    """Return the format of which a file is a part or of which a folder holds some, or None."""
    if known_suffix(path) and not path.is_dir():
        return None
    if is_marked_folder(path):
        return None
    found = (part() for part in SERIES_FORMATS.values())
    return next((one for one in found if one.recognises(path)), None)


def folder_format_of(folder: Path) -> FolderFormat | None:
    """Return the format of a folder that is one volume, or None."""
    found = (part() for part in FOLDER_FORMATS.values())
    return next((one for one in found if one.matches(folder)), None)


def marked_folder_format_of(folder: Path) -> FolderFormat | None:
    """Return the format of a folder that is one volume by a file that describes it, or None."""
    found = (part() for part in FOLDER_FORMATS.values())
    return next((one for one in found if one.is_marked and one.matches(folder)), None)


def is_marked_folder(path: Path) -> bool:
    """Return whether a path is a folder that is one volume by a file that describes it."""
    return path.is_dir() and marked_folder_format_of(path) is not None


def _named_suffix(name: str) -> str | None:
    named = {one for part in FORMATS.values() for one in part.named_suffixes}
    fitting = (one for one in named if name.lower().endswith(one))
    return max(fitting, key=len, default=None)
