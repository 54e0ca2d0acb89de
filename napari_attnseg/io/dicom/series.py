"""Find the series in a folder, a DICOMDIR or beside a file, and choose one of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_attnseg.io.dicom.files import damage_named, read_tags
from napari_attnseg.io.dicom.headers import DIRECTORY_CLASS, Header, read_header
from napari_attnseg.io.dicom.preamble import is_dicom
from napari_attnseg.io.format import SeriesChoiceError, VolumeError


@dataclass(frozen=True)
class Series:
    """The files that belong together.

    Args:
        headers: Of its files, in no particular order.
        unreadable: How many files beside them do not even say what they belong to.
    """

    headers: tuple[Header, ...]
    unreadable: int = 0

    @property
    def first(self) -> Header:
        """One file that stands for all."""
        return self.headers[0]

    @property
    def is_segmentation(self) -> bool:
        """Whether it holds segments rather than an image."""
        return self.first.is_segmentation

    @property
    def slices(self) -> int:
        """How many slices it has."""
        return sum(len(one.frames) for one in self.headers) or len(self.headers)

    @property
    def title(self) -> str:
        """What it is called and how many slices it has, in words."""
        name = f" {self.first.description!r}" if self.first.description else ""
        if self.is_segmentation:
            return f"segmentation{name}"
        kind = self.first.modality or "image"
        return f"{kind}{name} ({self.slices} {'slice' if self.slices == 1 else 'slices'})"


def find_series(path: Path) -> list[Series]:
    """Return the series of images and segments at a path, in the order of their numbers.

    A folder stands for all DICOM files in it and below, a DICOMDIR for the files it names, and
    any other file for the files of its own series in its folder.

    Raises:
        VolumeError: If the file is damaged, or one is missing that a DICOMDIR names.
    """
    if path.is_dir():
        return grouped(*_headers(_files_below(path)))
    if is_directory_file(path):
        return grouped(*_headers(_files_of_directory(path)))
    mine = read_header(path)
    if not mine.is_image:
        raise VolumeError(f"{path.name!r} is DICOM but holds no image ({mine.modality or '?'}).")
    if mine.is_segmentation:
        return [Series((mine,))]
    files = (one for one in sorted(path.parent.iterdir()) if one != path and _is_candidate(one))
    others, unreadable = _headers(files)
    beside = [one for one in others if one.is_image and _key(one) == _key(mine)]
    return [Series((mine, *beside), unreadable)]


def choose(found: Sequence[Series], wanted: int | str | None, path: Path) -> Series:
    """Return the one series that is meant.

    Args:
        found: The series at a path.
        wanted: Its number among them, from 1, its description, or None if there is but one.
        path: Where they were found.

    Raises:
        SeriesChoiceError: If there are several and none was named, or the name fits none or more.
        VolumeError: If there is none.
    """
    if not found:
        raise VolumeError(f"There is no DICOM image in {path.name!r}.")
    if wanted is None:
        images = [one for one in found if not one.is_segmentation] or list(found)
        if len(images) == 1:
            return images[0]
    elif isinstance(wanted, int) or wanted.isdecimal():
        if 1 <= int(wanted) <= len(found):
            return found[int(wanted) - 1]
    else:
        named = [one for one in found if one.first.description == wanted]
        if len(named) == 1:
            return named[0]
    raise SeriesChoiceError(path.name or str(path), [one.title for one in found])


def grouped(headers: Iterable[Header], unreadable: int = 0) -> list[Series]:
    """Return files that hold pixels as series; a segmentation is one of its own."""
    groups: dict[tuple[str, ...], list[Header]] = defaultdict(list)
    for one in headers:
        if one.is_image:
            groups[_key(one)].append(one)
    found = [Series(tuple(group), unreadable) for group in groups.values()]
    return sorted(found, key=lambda one: (one.is_segmentation, one.first.number, _key(one.first)))


def places(found: Sequence[Series], folder: Path) -> list[Path]:
    """Return the path that stands for each series below a folder: its own folder, or a file."""
    if len(found) == 1:
        return [folder]
    parents = [{header.path.parent for header in one.headers} for one in found]
    named = []
    for at, (one, mine) in enumerate(zip(found, parents, strict=True)):
        others = {parent for other in parents[:at] + parents[at + 1 :] for parent in other}
        own = next(iter(mine))
        is_alone = len(mine) == 1 and not any(other.is_relative_to(own) for other in others)
        named.append(own if is_alone else one.first.path)
    return named


def is_directory_file(path: Path) -> bool:
    """Return whether a DICOM file is a DICOMDIR, whatever its name."""
    with damage_named(path):
        meta = read_tags(path, ("SOPClassUID",)).file_meta
        return str(meta.get("MediaStorageSOPClassUID", "")) == DIRECTORY_CLASS


def _key(header: Header) -> tuple[str, ...]:
    own = header.instance or str(header.path)
    # A file that names no series belongs with others of its kind.
    series = header.series or header.modality
    return series, own if header.is_segmentation else ""


def _headers(paths: Iterable[Path]) -> tuple[list[Header], int]:
    """Return the headers of files, and how many could not be read at all."""
    headers, unreadable = [], 0
    for path in paths:
        try:
            headers.append(read_header(path))
        except VolumeError:
            unreadable += 1
    return headers, unreadable


def _is_candidate(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_file() and is_dicom(path)


def _files_below(folder: Path) -> list[Path]:
    found = (one for one in folder.rglob("*") if _is_candidate(one))
    return sorted(one for one in found if not _is_hidden(one.relative_to(folder)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _files_of_directory(path: Path) -> list[Path]:
    dataset = read_tags(path, ("DirectoryRecordSequence",))
    files = []
    with damage_named(path):
        for record in dataset.get("DirectoryRecordSequence") or ():
            parts = record.get("ReferencedFileID")
            if parts:
                files.append(
                    _named_file(path.parent, [parts] if isinstance(parts, str) else parts)
                )
    missing = sum(one is None for one in files)
    if missing:
        raise VolumeError(
            f"{missing} of the {len(files)} files that {path.name!r} names are missing or are not "
            "DICOM; copy the whole disc again."
        )
    return [one for one in files if one is not None]


def _named_file(folder: Path, parts: Iterable[str]) -> Path | None:
    """Return a file of a disc, whose names may have come over in another case."""
    place = folder
    for part in parts:
        if part in ("..", ".") or "/" in part or "\\" in part:
            return None
        exact = place / part
        if not exact.exists() and place.is_dir():
            alike = (one for one in place.iterdir() if one.name.lower() == part.lower())
            exact = next(alike, exact)
        place = exact
    return place if place.is_file() and is_dicom(place) else None
