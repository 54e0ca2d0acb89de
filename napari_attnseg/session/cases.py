"""The worklist: the project's cases, the open case, and the labels a person makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_attnseg.session import files
from napari_attnseg.session.background import Background
from napari_attnseg.session.files import CaseRow, Worklist
from napari_attnseg.session.open_case import OpenCase, label_volume, read_case
from napari_attnseg.session.problem import Problem, problem_of
from napari_attnseg.session.series import SeriesQuestion, add_series, series_question
from napari_attnseg.volume import Volume

if TYPE_CHECKING:
    from napari_attnseg.cohort.project import Project

STATUSES = ("unlabelled", "draft", "corrected", "approved")
SYMBOLS = {"unlabelled": "○", "draft": "◐", "corrected": "●", "approved": "✓"}


class CaseDesk:
    """Opens projects and cases and saves labels; reading and writing happen in the background."""

    project_opened = Signal()
    rows_changed = Signal()
    case_opening = Signal(str)
    case_opened = Signal(object)
    saved = Signal(str, str)
    not_saved = Signal(str)
    asked = Signal(object)

    def __init__(self, background: Background, say: Any) -> None:
        self._background = background
        self._say = say
        self.project: Project | None = None
        self.worklist = Worklist()
        self.case: OpenCase | None = None
        self.run_id: str | None = None
        self.is_opening = False
        self._wanted: str | None = None
        self._news: list[str] | None = None
        self._unsaved: dict[str, tuple[Project, Volume, str]] = {}

    @property
    def unsaved(self) -> tuple[str, ...]:
        """The cases whose labels have not reached the disk yet; their labels are kept here."""
        return tuple(self._unsaved)

    @property
    def rows(self) -> tuple[CaseRow, ...]:
        """The lines of the worklist."""
        return self.worklist.rows

    @property
    def classes(self) -> dict[int, str]:
        """Names of the label values of the project, without the background."""
        return dict(self.worklist.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The cases in the order of the worklist."""
        return tuple(row.name for row in self.rows)

    def row(self, name: str) -> CaseRow | None:
        """Return a case's line of the worklist."""
        return next((row for row in self.rows if row.name == name), None)

    def open_folder(self, folder: Path) -> None:
        """Open a project folder, or make a project of a folder of volumes.

        Where several DICOM series lie together, `asked` brings the question which are meant.
        """
        self._open(
            f"opening {folder}",
            lambda: series_question(folder) or files.open_or_make_project(folder),
        )

    def open_series(self, folder: Path, numbers: Sequence[int]) -> None:
        """Add some series of a folder, numbered from 1, to the project, or begin one with them."""
        project = self.project
        self._open(f"opening {folder}", lambda: add_series(project, folder, numbers))

    def open_sample(self, folder: Path | None = None) -> None:
        """Open the built-in cases, writing them first where they are missing."""
        self._open("making the sample cases", lambda: files.sample_project(folder))

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add volumes to the project, or begin one with them; one file, one case."""
        project = self.project
        self._open("adding the files", lambda: files.add_volumes(project, list(paths)))

    def refresh(self) -> None:
        """Read the worklist again."""
        project, run = self.project, self.run_id
        if project is not None:
            self._background.run(
                "reading the worklist", lambda: files.worklist(project, run), self._set_worklist
            )

    def open_case(self, name: str) -> None:
        """Read a case's volumes; `case_opened` brings them."""
        project = self.project
        if project is None:
            return
        self.is_opening = True
        self._wanted = name
        self.case_opening.emit(name)
        self._background.run(
            f"opening {name}",
            lambda: read_case(project, name, self._tell, lambda: self._wanted != name),
            self._opened,
            self._not_opened,
        )

    def _tell(self, text: str) -> None:
        self._background.tell(lambda: self._say(text))

    def neighbour(self, step: int) -> str | None:
        """Return the case before (-1) or after (+1) the open one in the worklist."""
        names = self.names
        if not names:
            return None
        if self.case is None or self.case.name not in names:
            return names[0]
        at = names.index(self.case.name) + step
        return names[at] if 0 <= at < len(names) else None

    def save_label(self, case: OpenCase, labels: np.ndarray, status: str) -> None:
        """Save label values, ``(D, H, W)`` on the grid of the case's image, as the user's own."""
        project = self.project
        if project is None:
            return
        volume = label_volume(case, labels, self.classes)
        kept = self._unsaved[case.name] = (project, volume, status)

        def save() -> None:
            project.save_label(case.name, volume, status)
            if self._unsaved.get(case.name) is kept:
                del self._unsaved[case.name]

        self._background.run(
            f"saving the labels of {case.name}",
            save,
            lambda _: self._saved(case.name, status),
            lambda problem: self._save_failed(case.name, problem),
        )

    def save_now(self) -> Problem | None:
        """Save at once what has not reached the disk, as the window closes; what fails is kept."""
        for name, (project, volume, status) in list(self._unsaved.items()):
            try:
                project.save_label(name, volume, status)
            except (OSError, ValueError) as error:
                return problem_of(error, f"saving the labels of {name}")
            self._unsaved.pop(name, None)
        return None

    def set_status(self, name: str, status: str) -> None:
        """Write a case's status into the worklist."""
        project = self.project
        if project is not None:
            self._background.run(
                f"changing the status of {name}",
                lambda: project.set_status(name, status),
                lambda _: self._saved(name, status),
            )

    def _open(self, doing: str, make: Any) -> None:
        self._say(f"{doing.capitalize()}…")
        self.is_opening = True
        self._background.run(doing, make, self._project_opened, self._not_opened)

    def _project_opened(self, opened: tuple[Project, list[str]] | SeriesQuestion) -> None:
        if isinstance(opened, SeriesQuestion):
            self.is_opening = False
            self.asked.emit(opened)
            return
        project, warnings = opened
        is_other = self.project is None or self.project.path != project.path
        self.project = project
        self.is_opening = False
        if is_other:
            self.case, self.run_id, self.worklist = None, None, Worklist()
        self._news = warnings
        self.project_opened.emit()
        self.refresh()

    def _opened(self, case: OpenCase | None) -> None:
        if case is None:
            return
        self.is_opening = False
        self.case = self._with_unsaved(case)
        self.case_opened.emit(self.case)

    def _with_unsaved(self, case: OpenCase) -> OpenCase:
        """Return a case with the labels that could not be saved, instead of older ones."""
        kept = self._unsaved.get(case.name)
        if kept is None or kept[0] is not self.project:
            return case
        said = f"The labels of {case.name} are not on the disk yet: they could not be saved."
        return replace(case, label=kept[1], warnings=(*case.warnings, said))

    def _not_opened(self, problem: Any) -> None:
        self.is_opening = False
        self._background.report(problem)

    def _set_worklist(self, worklist: Worklist) -> None:
        self.worklist = worklist
        if self._news is not None:
            self._say(news(worklist, self._news))
            self._news = None
        self.rows_changed.emit()

    def _save_failed(self, name: str, problem: Problem) -> None:
        step = f"The labels of {name} are kept in this window; mend that and save them again."
        self.not_saved.emit(name)
        self._background.report(replace(problem, text=f"{problem.text} {step}"))

    def _saved(self, name: str, status: str) -> None:
        self._say(f"Saved labels of {name} as {status} just now.")
        self.saved.emit(name, status)
        self.refresh()


def news(worklist: Worklist, warnings: Sequence[str]) -> str:
    """Return what to say when a project has been opened."""
    number = len(worklist.rows)
    text = f"Opened {worklist.name}: {number} case{'' if number == 1 else 's'}."
    more = f" And {len(warnings) - 2} more warnings." if len(warnings) > 2 else ""
    return " ".join([text, *warnings[:2]]) + more
