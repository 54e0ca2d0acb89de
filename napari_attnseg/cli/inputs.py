"""What people type for a run, and for the images of a case."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_attnseg.cli.series import place_of_series, series_by_channel, split_choice
from napari_attnseg.cohort.project import Project
from napari_attnseg.io import known_suffix, series_format_of, stem
from napari_attnseg.io.format import folder_format_of
from napari_attnseg.jobs.inputs import JobError

_NAMED = re.compile(r"(?:^|,)(?P<name>[^=,/\\]+)=")
_WEIGHTS = {"weights.safetensors": "best", "last.safetensors": "last"}
_INDEX = re.compile(r"_(\d{4})$")


def find_run(text: str) -> Path:
    """Return the folder of a run.

    Args:
        text: The folder; a weights file in it; a project, whose newest run is meant;
            ``PROJECT:ID``; or an id, if the current folder is a project.

    Raises:
        JobError: If there is none.
    """
    path = Path(text)
    if path.is_file():
        path = path.parent
    if (path / "config.json").is_file():
        return path
    if is_project(path):
        return newest_run(path)
    project, colon, number = text.rpartition(":")
    if colon and is_project(Path(project)):
        return Path(Project.open(project).run_dir(number))
    if is_project(Path()) and not path.exists():
        return Path(Project.open(Path()).run_dir(text))
    raise JobError(
        f"There is no run {text!r}; give its folder, such as PROJECT/runs/001, or PROJECT:001."
    )


def newest_run(project: Path) -> Path:
    """Return the newest run of a project that has weights; one that never began has none.

    Raises:
        JobError: If there is none.
    """
    runs = Project.open(project).runs()
    trained = [run for run in runs if any((run / name).is_file() for name in _WEIGHTS)]
    if trained:
        return trained[-1]
    begun = f": run {runs[-1].name} ended before it had weights" if runs else ""
    raise JobError(f"The project {str(project)!r} has no trained run{begun}; train one first.")


def chosen_weights(text: str) -> str:
    """Return which weights of a run are meant: its last ones where their file is named."""
    return _WEIGHTS.get(Path(text).name, "best")


def is_project(path: Path) -> bool:
    """Return whether a folder holds a project."""
    return (path / "project.json").is_file()


def run_facts(run: Path) -> dict[str, Any]:
    """Return what a run's ``config.json`` says, without loading the network.

    Raises:
        JobError: If it cannot be read.
    """
    try:
        return dict(json.loads((run / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise JobError(f"There is no run at {run}: its config.json cannot be read.") from error


def bind_input(text: str, channels: Sequence[str]) -> dict[str, Any]:
    """Return ``{"name", "images"}`` of a case, with one file for each of the run's channels.

    Args:
        text: A file, a case folder, or ``T1=a.nii.gz,FLAIR=b.nii.gz``; each may be a DICOM
            folder, a DICOMDIR or a file of a series, with ``,series=2`` behind it where there
            are several.
        channels: What the run's images are called.

    Raises:
        JobError: If an image is missing or unknown, or there are several series.
    """
    bare, choice = split_choice(text)
    path = Path(bare)
    if path.is_dir():
        name = path.resolve().name
        return {"name": name, "images": _from_folder(path, channels, choice)}
    if path.exists() or not _NAMED.match(text):
        return {"name": stem(path), "images": _from_file(path, channels, choice)}
    images = _from_names(text, channels)
    return {"name": stem(next(iter(images.values()))), "images": images}


def _from_names(text: str, channels: Sequence[str]) -> dict[str, str]:
    given = _named_texts(text, channels)
    known = {name.casefold() for name in channels}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise JobError(f"The run knows no image {unknown[0]!r}; it needs {', '.join(channels)}.")
    _require_all(channels, [name for name in channels if name.casefold() in given], text)
    found = {}
    for name in channels:
        path, choice = split_choice(given[name.casefold()])
        found[name] = place_of_series(Path(path), choice)
    return found


def _named_texts(text: str, channels: Sequence[str]) -> dict[str, str]:
    """Return what is given for each name; ``series=2`` belongs to the name before it."""
    is_channel = "series" in {name.casefold() for name in channels}
    starts = [
        one
        for one in _NAMED.finditer(text)
        if is_channel or one["name"].strip().casefold() != "series"
    ]
    ends = [one.start() for one in starts[1:]] + [len(text)]
    return {
        one["name"].strip().casefold(): text[one.end() : end].strip()
        for one, end in zip(starts, ends, strict=True)
    }


def _from_file(path: Path, channels: Sequence[str], choice: str | None = None) -> dict[str, str]:
    if len(channels) <= 1:
        return {channels[0] if channels else "image": place_of_series(path, choice)}
    found = _by_index(_siblings(path), channels) if _INDEX.search(_bare(path)) else {}
    if found:
        _require_all(channels, found, str(path))
        return found
    # One file with all images, as Decathlon has them; reading it counts them.
    return dict.fromkeys(channels, place_of_series(path, choice))


def _from_folder(
    folder: Path, channels: Sequence[str], choice: str | None = None
) -> dict[str, str]:
    files = sorted(one for one in folder.iterdir() if known_suffix(one) and one.is_file())
    files = [one for one in files if not one.name.startswith(".")]
    if not files:
        return _from_slices(folder, channels or ["image"], choice)
    if len(channels) <= 1 and len(files) == 1:
        return _from_file(files[0], channels)
    found = {name: one for name in channels if (one := _named(files, name, folder))}
    if not found:
        found = _by_index(files, channels)
    if not found and len(files) == 1:
        return _from_file(files[0], channels)
    _require_all(channels, found, str(folder))
    return found


def _from_slices(folder: Path, channels: Sequence[str], choice: str | None) -> dict[str, str]:
    """Return the images in a folder of DICOM files or pictures."""
    if folder_format_of(folder) is not None:
        return dict.fromkeys(channels, str(folder))
    if series_format_of(folder) is None:
        raise JobError(f"There is no volume in the folder {str(folder)!r}.")
    if len(channels) == 1 or choice is not None:
        return dict.fromkeys(channels, place_of_series(folder, choice))
    found = series_by_channel(folder, channels)
    _require_all(channels, found, str(folder))
    return found


def _named(files: Sequence[Path], channel: str, folder: Path) -> str | None:
    """Return the file with a channel's name among the words of its own."""
    pattern = re.compile(rf"(?<![a-z0-9]){re.escape(channel.casefold())}(?![a-z0-9])")
    matching = [one for one in files if pattern.search(_bare(one).casefold())]
    if len(matching) > 1:
        names = " and ".join(repr(one.name) for one in matching[:2])
        raise JobError(
            f"Both {names} in {str(folder)!r} could be {channel}; "
            f"say which, as in {channel}={matching[0]}."
        )
    return str(matching[0]) if matching else None


def _by_index(files: Sequence[Path], channels: Sequence[str]) -> dict[str, str]:
    numbered = {int(m[1]): str(one) for one in files if (m := _INDEX.search(_bare(one)))}
    return {name: numbered[at] for at, name in enumerate(channels) if at in numbered}


def _siblings(path: Path) -> list[Path]:
    folder = path.parent
    if not folder.is_dir():
        return []
    case = _INDEX.sub("", _bare(path))
    files = (one for one in folder.iterdir() if known_suffix(one))
    return sorted(one for one in files if _INDEX.sub("", _bare(one)) == case)


def _require_all(channels: Sequence[str], found: Any, where: str) -> None:
    missing = [name for name in channels if name not in found]
    if missing:
        raise JobError(
            f"The image {missing[0]} is missing in {where}; the run needs {', '.join(channels)}. "
            f"Name the files, as in {','.join(f'{name}=FILE' for name in channels)}."
        )


def _bare(path: Path) -> str:
    return path.name[: len(path.name) - len(known_suffix(path) or "")]
