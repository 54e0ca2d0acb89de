"""The worklist: the project's cases, the open case, and the labels a person makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_attnseg.session import files
from napari_attnseg.session.background import Background
from napari_attnseg.session.display import display_window, showable
from napari_attnseg.session.files import CaseRow, Worklist
from napari_attnseg.volume import Volume, require_same_grid

if TYPE_CHECKING:
    from napari_attnseg.cohort.project import Project

STATUSES = ("unlabelled", "draft", "corrected", "approved")
SYMBOLS = {"unlabelled": "○", "draft": "◐", "corrected": "●", "approved": "✓"}


@dataclass(frozen=True)
class OpenCase:
    """A case whose volumes have been read.

    Args:
        name: The case.
        images: Channel name and volume, in the project's order.
        label: The user's label, or the one that came with the case, or None.
        status: Status in the worklist.
        set: ``train``, ``val``, ``test`` or None while it has no label.
        windows: Darkest and brightest intensity to show of each image.
        warnings: What is odd about it, in sentences.
    """

    name: str
    images: tuple[tuple[str, Volume], ...]
    label: Volume | None
    status: str
    set: str | None
    windows: dict[str, tuple[float, float]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def image(self) -> Volume:
        """The first image, whose grid labels are saved on."""
        return self.images[0][1]


class CaseDesk:
    """Opens projects and cases and saves labels; reading and writing happen in the background."""

    project_opened = Signal()
    rows_changed = Signal()
    case_opening = Signal(str)
    case_opened = Signal(object)
    saved = Signal(str, str)

    def __init__(self, background: Background, say: Any) -> None:
        self._background = background
        self._say = say
        self.project: Project | None = None
        self.worklist = Worklist()
        self.case: OpenCase | None = None
        self.run_id: str | None = None
        self.is_opening = False
        self._news: list[str] | None = None

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
        """Open a project folder, or make a project of a folder of volumes."""
        self._open(f"opening {folder}", lambda: files.open_or_make_project(folder))

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
        self.case_opening.emit(name)
        self._background.run(
            f"opening {name}", lambda: read_case(project, name), self._opened, self._not_opened
        )

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
        self._background.run(
            f"saving the labels of {case.name}",
            lambda: project.save_label(case.name, volume, status),
            lambda _: self._saved(case.name, status),
        )

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

    def _project_opened(self, opened: tuple[Project, list[str]]) -> None:
        project, warnings = opened
        is_other = self.project is None or self.project.path != project.path
        self.project = project
        self.is_opening = False
        if is_other:
            self.case, self.run_id, self.worklist = None, None, Worklist()
        self._news = warnings
        self.project_opened.emit()
        self.refresh()

    def _opened(self, case: OpenCase) -> None:
        self.is_opening = False
        self.case = case
        self.case_opened.emit(case)

    def _not_opened(self, problem: Any) -> None:
        self.is_opening = False
        self._background.report(problem)

    def _set_worklist(self, worklist: Worklist) -> None:
        self.worklist = worklist
        if self._news is not None:
            self._say(news(worklist, self._news))
            self._news = None
        self.rows_changed.emit()

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


def read_case(project: Project, name: str) -> OpenCase:
    """Read a case's images and label.

    Raises:
        GridMismatchError: If the label is on another grid than the image.
    """
    from napari_attnseg.io import read_volume

    case = project.case(name)
    images, warnings = _read_images(case.images)
    source = getattr(case, "draft", None) or case.label
    label = None
    if source is not None:
        label = read_volume(source, labels=True)
        require_same_grid(images[0][1].grid, label.grid, names=("image", "label"))
    windows = {channel: display_window(volume) for channel, volume in images}
    return OpenCase(name, tuple(images), label, case.status, case.set, windows, tuple(warnings))


def label_volume(case: OpenCase, labels: np.ndarray, classes: dict[int, str]) -> Volume:
    """Return label values on the grid of the case's image, in the smallest unsigned type."""
    kind = np.min_scalar_type(int(labels.max(initial=0)))
    data = np.ascontiguousarray(labels, dtype=kind)
    like = case.image if case.label is None else case.label
    return like.on_grid(data, classes=classes)


def _read_images(
    paths: Mapping[str, str | Path],
) -> tuple[list[tuple[str, Volume]], list[str]]:
    """Read every channel; channels that name the same file are that file's channels in turn."""
    from napari_attnseg.io import read_volume

    images: list[tuple[str, Volume]] = []
    warnings = []
    read = {path: read_volume(path) for path in dict.fromkeys(map(str, paths.values()))}
    taken = dict.fromkeys(read, 0)
    for channel, path in paths.items():
        volume = read[str(path)]
        at, taken[str(path)] = taken[str(path)], taken[str(path)] + 1
        is_alone = list(map(str, paths.values())).count(str(path)) == 1
        images += _channels(channel, volume) if is_alone else [(channel, _channel(volume, at))]
    for index, (channel, volume) in enumerate(images[1:], start=1):
        how = images[0][1].grid.difference(volume.grid)
        if how is not None:
            warnings.append(f"{channel} is on another grid than {images[0][0]}: {how}.")
            images[index] = (channel, showable(volume, images[0][1].grid))
    return images, warnings


def _channels(name: str, volume: Volume) -> list[tuple[str, Volume]]:
    channels = volume.data.shape[0]
    if channels == 1:
        return [(name, volume)]
    names = volume.channels or tuple(f"{name} {n + 1}" for n in range(channels))
    return [(one, _channel(volume, n)) for n, one in enumerate(names)]


def _channel(volume: Volume, index: int) -> Volume:
    return volume.on_grid(volume.data[index])
