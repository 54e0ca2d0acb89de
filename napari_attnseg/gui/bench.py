"""One bench a viewer: the session and what it shows there, shared by every panel of the viewer."""

from __future__ import annotations

import importlib

import napari
from napari.layers import Labels
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox

from napari_attnseg.gui.thread import WindowThread
from napari_attnseg.gui.viewer.calm import CalmScrolling
from napari_attnseg.gui.viewer.case_layers import CaseLayers
from napari_attnseg.gui.viewer.lazy import PlanesOnly, keep_cache_small
from napari_attnseg.gui.viewer.map_layers import MapLayers
from napari_attnseg.gui.viewer.place import Place
from napari_attnseg.gui.viewer.planes import Planes
from napari_attnseg.session import OpenCase, Session
from napari_attnseg.session.work import Runner

KEEP, STOP, STAY = "Keep training in the background", "Stop and keep", "Go back"
LOSE = "Close without them"


class Bench(QObject):
    """Connects a session to a viewer; panels use both through it.

    Args:
        viewer: The viewer.
        runner: Starts jobs; child processes unless a test says otherwise.
    """

    def __init__(self, viewer: napari.Viewer, runner: Runner | None = None) -> None:
        super().__init__()
        self.viewer = viewer
        self.thread_ = WindowThread()
        self.session = Session(self.thread_.deliver, runner)
        self.layers = CaseLayers(viewer)
        self.maps = MapLayers(viewer, self.layers)
        self.planes = Planes(viewer)
        self.planes_only = PlanesOnly(viewer, self.session.say)
        self.place = Place(viewer)
        self.shown = "mask"
        self._window: QMainWindow | None = None
        self._calm: CalmScrolling | None = None
        self._connect()
        self.session.background.run("getting ready", _warm_up)

    def open_case(self, name: str | None) -> None:
        """Open a case; unsaved labels of the one before become its draft first."""
        if name is None:
            return
        self.save_draft()
        self.session.cases.open_case(name)

    def open_neighbour(self, step: int) -> None:
        """Open the next (+1) or previous (-1) case of the worklist."""
        self.open_case(self.session.cases.neighbour(step))

    def save_draft(self) -> None:
        """Save what was painted since the last save as a draft."""
        if self.layers.is_changed:
            self.save_labels("draft")

    def save_labels(self, status: str) -> None:
        """Save the open case's labels with a status."""
        case, values = self.layers.case, self.layers.painted()
        if case is not None and values is not None:
            self.layers.is_changed = False
            self.session.cases.save_label(case, values, status)

    def set_shown(self, shown: str) -> None:
        """Switch what is shown of the prediction."""
        self.shown = shown
        self.layers.set_shown(shown)

    def attach(self, window: object) -> None:
        """Take part in the main window: its status bar, and its closing."""
        if self._window is None and isinstance(window, QMainWindow):
            self._window = window
            self._calm = CalmScrolling(self.viewer, window)
            status = window.statusBar()
            if status is not None:
                status.addPermanentWidget(self.place)
            window.installEventFilter(self)

    def eventFilter(  # noqa: N802 - Qt's name
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Save and ask before the main window closes."""
        if event is not None and event.type() == QEvent.Type.Close and watched is self._window:
            if not self._may_close():
                event.ignore()
                return True
            self.close()
        return bool(super().eventFilter(watched, event))

    def close(self) -> None:
        """Save drafts and end or detach jobs, as the window closes."""
        self.save_draft()
        if self._calm is not None:
            self._calm.stop()
        self.session.close()
        self.thread_.close()
        forget_bench(self.viewer)

    def ask_about_training(self) -> str:
        """Ask what to do with the running training as the window closes."""
        box = QMessageBox(self._window)
        box.setWindowTitle("A training is running")
        box.setText("A training is running. What should happen to it?")
        for name in (KEEP, STOP, STAY):
            box.addButton(name, QMessageBox.ButtonRole.ActionRole)
        box.exec()
        clicked = box.clickedButton()
        return clicked.text() if clicked is not None else STAY

    def ask_about_labels(self, reason: str) -> str:
        """Ask what to do with labels that cannot be saved as the window closes."""
        box = QMessageBox(self._window)
        box.setWindowTitle("Labels are not saved")
        cases = ", ".join(self.session.cases.unsaved)
        box.setText(f"The labels of {cases} could not be saved: {reason}")
        for name in (STAY, LOSE):
            box.addButton(name, QMessageBox.ButtonRole.ActionRole)
        box.exec()
        clicked = box.clickedButton()
        return clicked.text() if clicked is not None else STAY

    def _may_close(self) -> bool:
        self.save_draft()
        problem = self.session.cases.save_now()
        if problem is not None and self.ask_about_labels(problem.text) == STAY:
            return False
        if not self.session.training.is_running:
            return True
        answer = self.ask_about_training()
        if answer == KEEP:
            self.session.work.detach()
        return answer != STAY

    def _connect(self) -> None:
        self.session.cases.case_opened.connect(self._show_case)
        self.session.cases.not_saved.connect(self._not_saved)
        self.session.cases.project_opened.connect(self._project_opened)
        self.session.predictions.ready.connect(
            lambda view: self.layers.show_prediction(view, self.shown)
        )
        self.session.explanations.ready.connect(self._show_map)
        self.session.scores.worst_slice.connect(lambda _, at: self.layers.go_to_slice(0, at))
        self.viewer.layers.events.inserted.connect(self._adopt)

    def _project_opened(self) -> None:
        case = self.session.cases.case
        if self.layers.case is not None and case is None:
            self.maps.side.stop()
            self.layers.remove()
            self.maps.use_case(None)

    def _show_case(self, case: OpenCase) -> None:
        self.maps.side.stop()
        for _, volume in case.images:
            keep_cache_small(volume)
        self.layers.show_case(case, self.session.cases.classes)
        self.maps.use_case(case)
        self.planes.show("axial")
        for axis, size in enumerate(case.image.shape_dhw):
            self.layers.go_to_slice(axis, size // 2)
        self._not_saved(*(name for name in self.session.cases.unsaved if name == case.name))
        for warning in case.warnings:
            self.session.say(warning)

    def _not_saved(self, *names: str) -> None:
        """Labels that have not reached the disk count as changed, so that leaving saves again."""
        if self.layers.case is not None and self.layers.case.name in names:
            self.layers.is_changed = True

    def _show_map(self, view: object) -> None:
        try:
            self.maps.show(view)  # type: ignore[arg-type]
        except ValueError as error:
            self.session.say(str(error))

    def _adopt(self, event: object) -> None:
        layer = event.value  # type: ignore[attr-defined]
        if isinstance(layer, Labels) and self.layers.adopt(layer):
            self.session.say(f"{layer.name} has the grid of {self.layers.case.name}.")  # type: ignore[union-attr]


def _warm_up() -> None:
    """Import what napari would import, for a second, when the first case is opened."""
    for name in ("pandas", "scipy.ndimage", "skimage.util", "nibabel"):
        importlib.import_module(name)


_BENCHES: dict[int, Bench] = {}


def bench_of(viewer: napari.Viewer) -> Bench:
    """Return the viewer's bench, made at the first call."""
    key = id(_unwrapped(viewer))
    if key not in _BENCHES:
        _BENCHES[key] = Bench(viewer)
    return _BENCHES[key]


def forget_bench(viewer: napari.Viewer) -> None:
    """Let go of a viewer's bench, as it closes."""
    _BENCHES.pop(id(_unwrapped(viewer)), None)


def _unwrapped(viewer: napari.Viewer) -> object:
    # napari hands plugins a proxy that hides what is not public; there is one viewer behind.
    return getattr(viewer, "__wrapped__", viewer)
