"""DICOM: a folder a case with its series; labels as DICOM SEG or as volumes, there or beside it.

Cases bear the names of their folders. What the files say of a patient is never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_attnseg.cohort.browse import files_in, folder_named, folders_in
from napari_attnseg.cohort.case import ANONYMOUS_CHANNEL, Case, Cohort, natural
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.pairing import (
    bare_name,
    by_name,
    image_of,
    is_named_as_label,
    pair,
    unlabelled,
    volumes_in,
)
from napari_attnseg.io import SeriesChoiceError, VolumeError, known_suffix
from napari_attnseg.io.dicom.preamble import is_dicom
from napari_attnseg.io.recipe import Recipe

if TYPE_CHECKING:
    from napari_attnseg.io.dicom.series import Series

_IMAGES = ("images", "imagesTr", "scans", "dicom", "data")
_LABELS = ("labels", "labelsTr", "masks", "segmentations", "segs", "seg")
_DEPTH, _FILES, _FOLDERS = 4, 4, 100
"""How far a folder is searched for the first DICOM file."""

Label = Path | Recipe


@dataclass
class _Found:
    images: dict[str, dict[str, Path]] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@LAYOUTS.register("dicom")
class DicomFolders:
    """DICOM series, a folder a case."""

    looks_for = "folders of DICOM slices"
    rank = 27

    def fit(self, folder: Path) -> Fit:
        """Return whether folders in it, or it itself, hold DICOM files."""
        images = _image_folder(folder)
        cases = [one for one in _case_folders(images) if _is_case(one)]
        if not cases and not any(map(is_dicom, _unnamed(folder))):
            return Fit("no folder in it holds DICOM files", 0.0)
        volumes = [bare_name(one) for one in volumes_in(folder)]
        labels = pair([one.name for one in cases or [folder]], dict.fromkeys(volumes, folder))
        paired = len(volumes) - len(labels.without_image)
        others = [name for name in volumes if not is_named_as_label(name)]
        if images == folder and cases and paired == 0 and others:
            return Fit(f"the volume {others[0]} lies beside the DICOM folders", 0.6)
        return Fit()

    def load(self, folder: Path) -> Cohort:
        """Return a case for each folder; several series in it are images where all have them."""
        found = _Found()
        images = _image_folder(folder)
        for place in _case_folders(images) or [folder]:
            if _is_case(place):
                _take(place, found)
            elif _holds_dicom(place):
                found.warnings.append(
                    f"{place.name} is left out: its DICOM files lie in folders of several cases."
                )
        _take_labels_beside(folder, found)
        channels = _channels(found)
        cases = [
            Case(name, {one: places[one] for one in channels}, found.labels.get(name))
            for name, places in found.images.items()
        ]
        if found.labels:
            found.warnings += unlabelled(case.name for case in cases if case.label is None)
        name = folder.resolve().name
        return Cohort(name, cases, {}, channels, tuple(found.warnings))


def _image_folder(folder: Path) -> Path:
    images = folder_named(folder, *_IMAGES)
    is_of_cases = images is not None and any(map(_is_case, folders_in(images)))
    return images if images is not None and is_of_cases else folder


def _case_folders(folder: Path) -> list[Path]:
    """Return the folders that are cases; where slices lie in the folder itself, there is one."""
    if any(map(is_dicom, _unnamed(folder))):
        return []
    return [one for one in folders_in(folder) if one.name.casefold() not in _LABELS]


def _unnamed(folder: Path) -> list[Path]:
    """Return some files that are of no other format by their names."""
    return [one for one in files_in(folder) if known_suffix(one) is None][:_FILES]


def _holds_dicom(folder: Path) -> bool:
    return bool(_folders_of_slices(folder))


def _folders_of_slices(folder: Path) -> list[Path]:
    """Return the folders, in a folder and below, in which DICOM files lie."""
    found, places = [], [folder]
    for _ in range(_DEPTH):
        found += [one for one in places if any(map(is_dicom, _unnamed(one)))]
        places = [below for one in places for below in folders_in(one)][:_FOLDERS]
    return found


def _is_case(folder: Path) -> bool:
    """Return whether the slices in a folder are those of one case, not of several patients."""
    found = _folders_of_slices(folder)
    parents = {one.parent for one in found if one != folder}
    return bool(found) and (len(parents) <= 1 if folder not in found else parents <= {folder})


def _take(place: Path, found: _Found) -> None:
    """Enter the images and the label of one case's folder."""
    from napari_attnseg.io.dicom.series import find_series, places

    # Not what a link leads to, but what the person called it.
    name = place.absolute().name or place.resolve().name
    try:
        every = find_series(place)
    except VolumeError as error:
        found.warnings.append(f"{name} is left out: {error}")
        return
    images = [one for one in every if not one.is_segmentation]
    if not images:
        found.warnings.append(f"{name} is left out: it holds no DICOM image.")
        return
    named = _named(images, places(images, place), place)
    if named is None:
        choice = SeriesChoiceError(name, [one.title for one in images])
        found.warnings.append(
            f"{name} is left out: {choice} In a project, each series needs a folder of its own."
        )
        return
    found.images[name] = named
    drawn = _labels_in(place, [one for one in every if one.is_segmentation], named)
    if len(drawn) == 1:
        found.labels[name] = drawn[0]
    elif drawn:
        found.warnings.append(f"{name} holds {len(drawn)} labels; none was taken. Keep one.")


def _named(
    images: Sequence[Series], places: Sequence[Path], folder: Path
) -> dict[str, Path] | None:
    """Return the place of each series by channel: the name of the folder that is its own."""
    if len(images) == 1:
        return {ANONYMOUS_CHANNEL: places[0]}
    if not all(place.is_dir() and place != folder for place in places):
        return None
    return {place.relative_to(folder).as_posix(): place for place in places}


def _labels_in(
    place: Path, segmentations: Sequence[Series], images: Mapping[str, Path]
) -> list[Label]:
    first = next(iter(images.values()))
    drawn: list[Label] = [Recipe((one.first.path,), drawn_on=first) for one in segmentations]
    return drawn + volumes_in(place)


def _take_labels_beside(folder: Path, found: _Found) -> None:
    """Enter labels that bear the name of a case, in the folder or in one of labels."""
    place = folder_named(folder, *_LABELS) or folder
    volumes, twice = by_name(volumes_in(place))
    pairs = pair([name for name in found.images if name not in found.labels], volumes)
    found.labels.update(pairs.labels)
    for label in pairs.without_image:
        name = image_of(bare_name(label), found.images)
        if name is not None:
            found.labels.setdefault(name, label)
    found.warnings += [*twice, *pairs.warnings]
    if place == folder:
        return
    for name, images in found.images.items():
        files = [place / f"{name}.dcm", *files_in(place / name)]
        drawn = [one for one in files if one.is_file() and is_dicom(one)]
        if name not in found.labels and len(drawn) == 1:
            first = next(iter(images.values()))
            found.labels[name] = Recipe((drawn[0],), drawn_on=first)


def _channels(found: _Found) -> tuple[str, ...]:
    """Return the images that every case has; cases with others are left out."""
    sets = [tuple(images) for images in found.images.values()]
    if not sets:
        return (ANONYMOUS_CHANNEL,)
    usual = max(sets, key=sets.count)
    odd = [name for name, images in found.images.items() if set(images) != set(usual)]
    for name in odd:
        held = ", ".join(found.images.pop(name))
        found.warnings.append(
            f"{name} is left out: it holds {held} where others have {', '.join(usual)}."
        )
    return tuple(sorted(usual, key=natural))
