"""Let the window draw the slice, and little else, while a person scrolls."""

from __future__ import annotations

import napari
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

REST_MS = 150
"""Without another slice for so long, scrolling is over."""

QUIET_DOCKS = ("layer list",)
"""Docks that napari redraws with every slice, for thumbnails nobody looks at while scrolling."""

QUIET = "quiet_while_scrolling"
"""Property of widgets of our own that can wait until the slices rest."""


def keep_quiet(widget: QWidget) -> None:
    """Let a widget that changes by itself, such as a progress bar, wait while slices go by."""
    widget.setProperty(QUIET, True)


class CalmScrolling(QObject):
    """Holds back the redrawing of docks while slices go by.

    Where OpenGL is computed in software, every redrawing beside the canvas composes the whole
    window once more, which takes longer than the slice itself.

    Args:
        viewer: The viewer that is scrolled.
        window: Its main window.
    """

    def __init__(self, viewer: napari.Viewer, window: QMainWindow) -> None:
        super().__init__(window)
        self._viewer = viewer
        self._window = window
        self._held: list[QWidget] = []
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self.release)
        self._centre, self._status = window.centralWidget(), window.statusBar()
        self._draw = QTimer(self)
        self._draw.setSingleShot(True)
        self._draw.setInterval(0)
        self._draw.timeout.connect(self._draw_slice)
        viewer.dims.events.current_step.connect(self._put_off, position="first")
        viewer.dims.events.current_step.connect(self._hold)

    def release(self) -> None:
        """Draw what was held back."""
        for widget in self._held:
            widget.setUpdatesEnabled(True)
        self._held = []

    def stop(self) -> None:
        """Leave the viewer alone, as its window closes."""
        for handler in (self._put_off, self._hold):
            self._viewer.dims.events.current_step.disconnect(handler)
        self._rest.stop()
        self._draw.stop()
        self.release()
        self._draw_slice()

    def _put_off(self) -> None:
        if self._centre is not None:
            self._centre.setUpdatesEnabled(False)
            self._draw.start()

    def _draw_slice(self) -> None:
        if self._centre is not None:
            self._centre.setUpdatesEnabled(True)

    def _hold(self) -> None:
        self._rest.start()
        if self._held:
            return
        docks = self._window.findChildren(QDockWidget)
        self._held = [dock for dock in docks if dock.windowTitle() in QUIET_DOCKS]
        self._held += [one for one in self._window.findChildren(QWidget) if one.property(QUIET)]
        self._held += [self._status] if self._status is not None else []
        for widget in self._held:
            widget.setUpdatesEnabled(False)
