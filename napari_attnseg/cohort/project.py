"""A project: cases with their labels, sets and status, runs and predictions, in one folder."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_attnseg.cohort.case import Cohort
from napari_attnseg.cohort.entries import (
    APPROVED,
    CORRECTED,
    DRAFT,
    STATUSES,
    UNLABELLED,
    add_cases,
    empty_content,
    facts,
    give_set,
    resample_modalities,
)
from napari_attnseg.cohort.headers import grid_of
from napari_attnseg.cohort.label_values import (
    name_values,
    note_values,
    read_missing_values,
    values_of,
)
from napari_attnseg.cohort.ledger import FILE, Ledger, ProjectError, refuse_file, told_plainly
from napari_attnseg.cohort.project_case import (
    ProjectCase,
    case_of,
    draft_file,
    label_file,
    no_such_case,
    row,
    why_not_learnable,
)
from napari_attnseg.cohort.run_folders import find_run, new_run_folder, run_folders
from napari_attnseg.cohort.split import TRAIN, VALIDATION
from napari_attnseg.io.regions import Regions
from napari_attnseg.volume import Volume, require_same_grid

READING_SECONDS = 1.0
"""Longest time that making or extending a project spends on values of labels without names."""


class Project:
    """A project folder; made by `create` or `open`.

    Several processes may use it at once: what one writes the others see.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ledger = Ledger(path)

    @classmethod
    def create(
        cls,
        path: str | Path,
        cohort: Cohort | None = None,
        *,
        seed: int = 0,
        test_fraction: float = 0.0,
    ) -> Project:
        """Make a project folder, with a cohort's cases in it.

        Raises:
            ProjectError: If there is a project already or the folder cannot be written.
        """
        project = cls(Path(path).expanduser().absolute())
        refuse_file(project.path)
        with told_plainly(project.path / FILE):
            project.path.mkdir(parents=True, exist_ok=True)
        with project._ledger.changing(is_new=True) as content:
            name = cohort.name if cohort else project.path.name
            content.update(empty_content(name, seed, test_fraction))
            if cohort is not None:
                add_cases(content, cohort, project.path)
        project._learn_values(READING_SECONDS)
        return project

    @classmethod
    def open(cls, path: str | Path) -> Project:
        """Open a project folder.

        Raises:
            ProjectError: If it is none, or its file is damaged.
        """
        path = Path(path).expanduser().absolute()
        refuse_file(path)
        project = cls(path.parent if path.name == FILE else path)
        project._ledger.read()
        return project

    @property
    def name(self) -> str:
        """What the person calls it."""
        return str(self._ledger.read().get("name") or self.path.name)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the images of every case."""
        return tuple(self._ledger.read()["channels"])

    @property
    def ignore_label(self) -> int | None:
        """The value that marks voxels nobody labelled, where the data set has one."""
        return self._ledger.read().get("ignore_label")

    @property
    def regions(self) -> Regions:
        """What overlapping regions the classes make up, such as a whole tumour; mostly none."""
        return Regions.from_json(self._ledger.read().get("regions"))

    @property
    def classes(self) -> dict[int, str]:
        """Name by label value, without the background.

        Where nobody named them, the values that occur in the labels are named ``class 1``, ...;
        labels that have not been looked into for that are read now.
        """
        self._learn_values()
        return {int(value): name for value, name in self._ledger.read()["classes"].items()}

    @property
    def cases(self) -> list[ProjectCase]:
        """All cases in natural order."""
        entries = self._ledger.read()["cases"]
        return [case_of(name, one, self.path) for name, one in entries.items()]

    def case(self, name: str) -> ProjectCase:
        """Return one case.

        Raises:
            ProjectError: If there is none of that name.
        """
        entries = self._ledger.read()["cases"]
        if name not in entries:
            raise ProjectError(no_such_case(name, entries))
        return case_of(name, entries[name], self.path)

    def training_cases(self) -> list[ProjectCase]:
        """Return the labelled cases to learn from."""
        return [one for one in self.cases if one.set == TRAIN and one.label is not None]

    def validation_cases(self) -> list[ProjectCase]:
        """Return the labelled cases on which every run is checked."""
        return [one for one in self.cases if one.set == VALIDATION and one.label is not None]

    def add(self, cohort: Cohort) -> list[str]:
        """Add a cohort's cases; those that are known keep their set.

        Returns:
            Warnings in sentences.

        Raises:
            ProjectError: If the cohort does not go with the project.
        """
        with self._ledger.changing() as content:
            warnings = add_cases(content, cohort, self.path)
        self._learn_values(READING_SECONDS)
        return warnings

    def save_label(self, name: str, volume: Volume, status: str = CORRECTED) -> Path:
        """Save a label map as the user's own and return its file; the original stays as it is.

        A draft is kept apart from the label in use, and does not give the case a set.

        Args:
            name: The case.
            volume: Values ``(1, D, H, W)`` on the grid of the case's image.
            status: ``draft``, ``corrected`` or ``approved``.

        Raises:
            ProjectError: If there is no such case or status, or the folder cannot be written.
            VolumeError: If the values are no label map, or the image cannot be read.
            GridMismatchError: If the grid is not that of the image.
        """
        from napari_attnseg.io import as_label_map, write_volume

        case = self.case(name)
        if status not in (DRAFT, CORRECTED, APPROVED):
            raise ProjectError(
                f"Labels are saved as draft, corrected or approved, not {status!r}."
            )
        path = draft_file(self.path, name) if status == DRAFT else label_file(self.path, name)
        volume = as_label_map(volume, path)
        image = grid_of(next(iter(case.images.values())))
        require_same_grid(image, volume.grid, names=("image", "label"))
        values = values_of(volume.data)
        with self._ledger.changing() as content:
            note_values(content, name, values)
            names = {int(value): one for value, one in content["classes"].items()}
            with told_plainly(self.path / FILE):
                write_volume(path, volume.replace(classes=names))
            self._settle(content, name, status)
        return path

    def resample_modalities(self) -> list[str]:
        """Put the images of every case on one grid, in world space, now and for later cases.

        It is that of the label, or where there is none of the first image. Files stay as they
        are: an image is resampled whenever it is read, as its file in ``sources`` tells.

        Returns:
            Names of the cases whose images lay on several grids.
        """
        with self._ledger.changing() as content:
            return resample_modalities(content, self.path)

    def set_status(self, name: str, status: str) -> None:
        """Change a case's status; a draft that is corrected or approved becomes its label.

        Raises:
            ProjectError: If there is no such case or status, or the case's labels forbid it.
        """
        case = self.case(name)
        if status not in STATUSES:
            raise ProjectError(f"There is no status {status!r}; known are {', '.join(STATUSES)}.")
        has_label = case.newest_label is not None
        if has_label == (status == UNLABELLED):
            why = "has labels" if has_label else "has no labels yet"
            raise ProjectError(f"The case {name} {why}, so it cannot be marked {status}.")
        with self._ledger.changing() as content:
            if status in (CORRECTED, APPROVED) and case.draft is not None:
                with told_plainly(self.path / FILE):
                    os.replace(case.draft, label_file(self.path, name))
            self._settle(content, name, status)

    def require_learnable(self, name: str) -> None:
        """Raise if a case must not be learned from.

        Raises:
            ProjectError: If it is kept for checking, or has no finished label.
        """
        why_not = why_not_learnable(self.case(name))
        if why_not is not None:
            raise ProjectError(why_not)

    def runs(self) -> list[Path]:
        """Return the folders of the runs, oldest first."""
        return run_folders(self.path)

    def new_run_dir(self) -> Path:
        """Make and return the folder of the next run: ``runs/001``, ``runs/002``, ...

        Raises:
            ProjectError: If the folder cannot be written.
        """
        return new_run_folder(self.path)

    def run_dir(self, run: str | Path | int | None = None) -> Path:
        """Return the folder of a run given by its id, such as ``1``, or its path, or the latest.

        Raises:
            ProjectError: If there is no such run.
        """
        return find_run(self.path, run)

    def predictions_dir(self, run: str) -> Path:
        """Return where the predictions of a run are kept, by its id."""
        return self.path / "predictions" / Path(run).name

    def to_json(self) -> dict[str, Any]:
        """Return the worklist as JSON-ready values."""
        self._learn_values()
        return {
            "project": self.name,
            **facts(self._ledger.read()),
            "cases": [row(case) for case in self.cases],
        }

    def name_classes(self, names: Mapping[int, str]) -> None:
        """Name label values, new ones or known; `ProjectError` where they cannot be told apart."""
        with self._ledger.changing() as content:
            name_values(content, names)

    def _settle(self, content: dict[str, Any], name: str, status: str) -> None:
        """Write a status; finished labels take the place of the draft and give a set."""
        content["cases"][name]["status"] = status
        if status in (CORRECTED, APPROVED):
            give_set(content, name)
            with told_plainly(self.path / FILE):
                draft_file(self.path, name).unlink(missing_ok=True)

    def _learn_values(self, seconds: float = math.inf) -> None:
        found = read_missing_values(self._ledger.read(), self.path, seconds)
        if found:
            with self._ledger.changing() as content:
                for name, values in found.items():
                    note_values(content, name, values)
