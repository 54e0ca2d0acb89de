"""What a panel of the workbench is, and the registry that finds them."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_attnseg.gui.bench import Bench
from napari_attnseg.registry import Registry


class Panel(QWidget):
    """One step of the work. A panel shows the session's state and passes on what is asked.

    Args:
        bench: The session and the viewer it shows.
    """

    title = ""
    order = 0

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.session = bench.session
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(8, 8, 8, 8)
        self.column.setSpacing(6)

    def why_not(self) -> str:
        """Return why this panel cannot be used yet, or an empty string."""
        return ""

    def main_button(self) -> QPushButton | None:
        """Return the button that Ctrl+Enter presses."""
        return None

    def opened(self) -> None:
        """Hear that the panel has come to the front."""


PANELS: Registry[type[Panel]] = Registry("panel", "napari_attnseg.gui.panels")


def panels_in_order() -> list[type[Panel]]:
    """Return the panels in the order of the work."""
    return sorted(PANELS.values(), key=lambda panel: panel.order)


def scrolling(widget: QWidget) -> QScrollArea:
    """Return a widget that scrolls up and down and is never cut off."""
    area = QScrollArea()
    area.setWidget(widget)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
    return area


def allow(widget: QWidget, reason: str, tooltip: str = "") -> None:
    """Enable a widget, or disable it with the reason as its tooltip."""
    widget.setEnabled(not reason)
    widget.setToolTip(reason or tooltip)


def button(text: str, pressed: Callable[[], None], tooltip: str = "") -> QPushButton:
    """Return a push button that calls a function."""
    made = QPushButton(text)
    made.clicked.connect(lambda: pressed())
    made.setToolTip(tooltip)
    return made
