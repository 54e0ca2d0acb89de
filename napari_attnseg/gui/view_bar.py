"""Planes and overlays at one click, below every panel."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QLabel, QToolButton, QWidget

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.panel import allow

PLANES = (("axial", "Alt+1"), ("sagittal", "Alt+2"), ("coronal", "Alt+3"))

MARGIN = 10
STYLE = """
QToolButton { padding: 2px 1px; background: #414851; }
QToolButton:checked { background: #4F63C8; }
QToolButton:disabled { background: #2B3038; }
"""


class ViewBar(QWidget):
    """Buttons for the planes, the volume, the mask and the map.

    Args:
        bench: The session and the viewer it shows.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.setStyleSheet(STYLE)
        self.bench = bench
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        row.addWidget(QLabel("View"))
        self.buttons: dict[str, QToolButton] = {}
        self._tips: dict[str, str] = {}
        for plane, key in PLANES:
            self._add(plane, lambda plane=plane: bench.planes.show(plane), f"{plane} ({key})")
        self._add("volume", bench.planes.show_volume, "Volume rendering (Alt+V)")
        row.addStretch(1)
        self._add("mask", lambda: bench.layers.toggle("prediction"), "Mask on or off (Alt+M)")
        self._add("map", lambda: bench.layers.toggle("map"), "Map on or off (Alt+E)")
        for events in (bench.viewer.dims.events.order, bench.viewer.dims.events.ndisplay):
            events.connect(self.refresh)
        bench.viewer.layers.events.inserted.connect(self.refresh)
        bench.viewer.layers.events.removed.connect(self.refresh)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Show which plane is shown, and disable what there is nothing of."""
        plane = self.bench.planes.plane()
        for name, _ in PLANES:
            self.buttons[name].setChecked(name == plane)
        self.buttons["volume"].setChecked(self.bench.viewer.dims.ndisplay == 3)
        none = "" if self.bench.planes.grid() is not None else "Open a case first."
        missing = {
            "mask": "" if self.bench.layers.has("prediction") else "Segment the case first.",
            "map": "" if self.bench.layers.has("map") else "Make a map in Explain first.",
        }
        for name, one in self.buttons.items():
            allow(one, none or missing.get(name, ""), self._tips[name])

    def _add(self, name: str, pressed: Any, tooltip: str) -> None:
        made = QToolButton()
        made.setText(name)
        # napari's style makes tool buttons as narrow as icons.
        made.setMinimumWidth(made.fontMetrics().horizontalAdvance(name) + MARGIN)
        made.setCheckable(name not in ("mask", "map"))
        made.clicked.connect(lambda _: pressed())
        made.clicked.connect(self.refresh)
        self.buttons[name], self._tips[name] = made, tooltip
        layout = self.layout()
        assert layout is not None
        layout.addWidget(made)
