"""Which DICOM series is meant by what people type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_attnseg.io import SeriesChoiceError, series_format_of
from napari_attnseg.jobs.inputs import JobError

_CHOICE = re.compile(r"^(?P<path>.+),\s*series=(?P<series>[^,/\\]+)$", re.IGNORECASE)


def split_choice(text: str) -> tuple[str, str | None]:
    """Return the path and the series in ``FOLDER,series=2``; None where no series is named."""
    match = _CHOICE.match(text)
    if match is None or Path(text).exists():
        return text, None
    return match["path"].strip(), match["series"].strip()


def place_of_series(path: Path, choice: str | None) -> str:
    """Return what stands for the one series that is meant: its folder, or one of its files.

    Anything but DICOM stands for itself.

    Args:
        path: A folder, a DICOMDIR or a file.
        choice: Number or description of the series; None where there is but one.

    Raises:
        JobError: If there are several series and none was chosen, or there is none to choose.
        VolumeError: If the files are damaged.
    """
    from napari_attnseg.io.dicom.series import choose, find_series, places
    from napari_attnseg.io.formats.dicom import DicomSeries

    found = series_format_of(path) if path.exists() else None
    if not isinstance(found, DicomSeries):
        if choice is not None:
            raise JobError(f"{str(path)!r} holds no DICOM series, so none of it can be chosen.")
        return str(path)
    every = find_series(path)
    try:
        one = choose(every, choice, path)
    except SeriesChoiceError as error:
        raise JobError(f"{error} Write it as {path},series=1.") from error
    if choice is None:
        return str(path)
    place = places(every, path)[every.index(one)]
    if len({header.path.parent for header in one.headers}) > 1 and place.is_file():
        raise JobError(
            f"The files of series {choice} of {str(path)!r} lie in several folders; copy them "
            "into one."
        )
    return str(place)


def series_by_channel(folder: Path, channels: Sequence[str]) -> dict[str, str]:
    """Return the place of each channel's series, told by its folder's name or its description."""
    from napari_attnseg.io.dicom.series import find_series, places

    every = [one for one in find_series(folder) if not one.is_segmentation]
    if len(every) == 1:
        return dict.fromkeys(channels, str(folder))
    named = list(zip(places(every, folder), every, strict=True))
    found = {}
    for channel in channels:
        word = re.compile(rf"(?<![a-z0-9]){re.escape(channel.casefold())}(?![a-z0-9])")
        own = [
            place for place, one in named if place.is_dir() and word.search(_below(place, folder))
        ]
        told = [place for place, one in named if word.search(one.first.description.casefold())]
        fitting = own or told
        if len(fitting) > 1:
            raise JobError(
                f"{len(fitting)} series in {str(folder)!r} could be {channel}; say which, as in "
                f"{channel}={folder},series=1."
            )
        if fitting:
            found[channel] = str(fitting[0])
    return found


def _below(place: Path, folder: Path) -> str:
    return place.relative_to(folder).as_posix().casefold()
