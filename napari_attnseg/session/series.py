"""Folders in which several DICOM series lie together: which of them are cases is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_attnseg.cohort.project import Project

_LOOKED_AT = 4
"""Files that are looked at to see whether a folder holds slices."""


@dataclass(frozen=True)
class SeriesQuestion:
    """Several series lie in one folder.

    Args:
        folder: Where.
        titles: What each is called, with its number of slices; nothing of the patient.
    """

    folder: Path
    titles: tuple[str, ...]


def series_question(folder: Path) -> SeriesQuestion | None:
    """Return what has to be asked about a folder, or None if it is no heap of several series."""
    from napari_attnseg.io.dicom.preamble import is_dicom
    from napari_attnseg.io.dicom.series import find_series

    if not folder.is_dir():
        return None
    files = (one for one in sorted(folder.iterdir()) if one.is_file())
    if not any(is_dicom(one) for one, _ in zip(files, range(_LOOKED_AT), strict=False)):
        return None
    found = find_series(folder)
    images = [one for one in found if not one.is_segmentation]
    return SeriesQuestion(folder, tuple(one.title for one in found)) if len(images) > 1 else None


def add_series(
    project: Project | None, folder: Path, numbers: Sequence[int]
) -> tuple[Project, list[str]]:
    """Add some series of a folder, one a case, to a project, or to a new one beside the folder.

    Args:
        project: The open one.
        folder: Where they lie.
        numbers: Of the series, from 1.

    Returns:
        The project and warnings in sentences.
    """
    from napari_attnseg.cohort import Case, Cohort
    from napari_attnseg.cohort.project import Project
    from napari_attnseg.io.recipe import Recipe
    from napari_attnseg.session.files import project_place

    channel = project.channels[0] if project is not None and project.channels else "image"
    name = folder.resolve().name
    cases = [
        Case(f"{name}_series{n}", {channel: Recipe((folder,), series=n)}, None, name)
        for n in numbers
    ]
    cohort = Cohort(name, cases, {} if project is None else project.classes, (channel,))
    if project is None:
        place = project_place(folder)
        if not (place / "project.json").is_file():
            return Project.create(place, cohort), list(cohort.warnings)
        project = Project.open(place)
    return project, list(project.add(cohort))
