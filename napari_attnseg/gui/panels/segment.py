"""Segment: masks with names, colours and volumes, and the way from a mask to a correction."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QFrame, QHBoxLayout, QLabel, QPushButton

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.colours import class_colours, swatch
from napari_attnseg.gui.correction import Correction
from napari_attnseg.gui.panel import PANELS, Panel, allow, button
from napari_attnseg.gui.widgets.fold import fold
from napari_attnseg.gui.words import count, millilitres
from napari_attnseg.session.predictions import PredictionView

SHOWN = ("mask", "outline", "probability", "uncertainty")


@PANELS.register("segment")
class SegmentPanel(Panel):
    """Get the masks of one case, or of all that have none."""

    title = "Segment"
    order = 3

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.network = QLabel()
        self.network.setWordWrap(True)
        self.one = button("Segment this case", self._segment_one)
        self.all = button("All unlabelled…", self._segment_all)
        self.tta = QCheckBox("average over flips")
        self.tta.setToolTip(
            "Slower and a little better; never flips left and right of sided classes"
        )
        self.probabilities = QCheckBox("probability of each class")
        self.uncertainty = QCheckBox("uncertainty")
        self.uncertainty.setToolTip("Where the network wavers between classes; sorts the worklist")
        self.uncertainty.setChecked(True)
        self.volumes = QLabel()
        self.volumes.setTextFormat(Qt.TextFormat.RichText)
        self.volumes.setWordWrap(True)
        self.warning = QLabel()
        self.warning.setWordWrap(True)
        self.warning.setStyleSheet("color: #F0E442;")
        self.draft = button("Use as draft labels", self._use_as_draft)
        self.shown = QButtonGroup(self)
        self.show_buttons = {name: QPushButton(name) for name in SHOWN}
        self.correction = Correction(bench)
        self._lay_out()
        self._connect()
        self._refresh()

    def why_not(self) -> str:
        """Return why nothing can be segmented yet."""
        return "" if self.session.model.run is not None else "Choose or train a model first."

    def main_button(self) -> QPushButton:
        """Return the button that segments the open case."""
        return self.one

    def _lay_out(self) -> None:
        self.column.addWidget(self.network)
        row = QHBoxLayout()
        row.addWidget(self.one)
        row.addWidget(self.all)
        self.column.addLayout(row)
        folded = fold("Options")
        for box in (self.tta, self.probabilities, self.uncertainty):
            folded.addWidget(box)
        self.column.addWidget(folded)
        self.column.addWidget(self.warning)
        self.column.addWidget(self.volumes)
        row = QHBoxLayout()
        row.setSpacing(0)
        row.addWidget(QLabel("Show "))
        for name, one in self.show_buttons.items():
            one.setCheckable(True)
            one.setStyleSheet("padding: 3px 5px;")
            self.shown.addButton(one)
            one.clicked.connect(lambda _, name=name: self.bench.set_shown(name))
            row.addWidget(one, 1)
        self.show_buttons["mask"].setChecked(True)
        self.column.addLayout(row)
        self.column.addWidget(self.draft)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        self.column.addWidget(line)
        self.column.addWidget(self.correction)
        self.column.addStretch(1)
        note = QLabel("For research use, not a medical device.")
        note.setStyleSheet("color: #9AA3AF; font-size: 11px;")
        self.column.addWidget(note)

    def _connect(self) -> None:
        self.session.predictions.ready.connect(self._show)
        self.session.on_change(self._refresh)

    def _settings(self) -> dict[str, Any]:
        return {
            "tta": self.tta.isChecked(),
            "probabilities": self.probabilities.isChecked(),
            "uncertainty": self.uncertainty.isChecked(),
        }

    def _segment_one(self) -> None:
        case = self.session.cases.case
        if case is not None:
            self.session.predictions.segment([case.name], self._settings())

    def _unlabelled(self) -> list[str]:
        return [row.name for row in self.session.cases.rows if row.status == "unlabelled"]

    def _segment_all(self) -> None:
        self.session.predictions.segment(self._unlabelled(), self._settings())

    def _use_as_draft(self) -> None:
        view = self.session.predictions.view
        if view is None:
            return
        self.bench.layers.set_labels(view.labels.data[0])
        self.bench.layers.is_changed = False
        self.bench.layers.toggle_off("prediction")
        self.session.predictions.use_as_draft()

    def _show(self, view: PredictionView | None) -> None:
        self._refresh()

    def _refresh(self) -> None:
        session = self.session
        run = session.model.run
        self.network.setText(f"<b>{run.title}</b>" if run is not None else "No model yet")
        reason = session.predictions.why_not()
        allow(self.one, reason, "Masks of the open case (Ctrl+Enter)")
        unlabelled = self._unlabelled()
        none = "" if unlabelled else "Every case has labels."
        no_run = "" if run is not None else "Choose or train a model first."
        allow(self.all, no_run or none, f"Masks of {count(len(unlabelled), 'unlabelled case')}")
        view = session.predictions.view
        missing = "" if view is not None else "Segment the open case first."
        allow(self.draft, missing, "Copies the mask into this case's labels, to be corrected")
        self.volumes.setText("" if view is None else volume_words(view))
        self.warning.setText("" if view is None else "\n".join(view.warnings))
        self.warning.setVisible(bool(self.warning.text()))
        self._refresh_shown(view)

    def _refresh_shown(self, view: PredictionView | None) -> None:
        missing = "" if view is not None else "Segment the open case first."
        has = {
            "probability": view is not None and view.probabilities is not None,
            "uncertainty": view is not None and view.uncertainty is not None,
        }
        for name, one in self.show_buttons.items():
            reason = missing
            if not missing and not has.get(name, True):
                reason = f"Tick {name} under Options and segment the case again."
            allow(one, reason, f"Show the {name}")
        if not self.show_buttons[self.bench.shown].isEnabled():
            self.show_buttons["mask"].setChecked(True)
            self.bench.shown = "mask"
            self.bench.layers.set_shown("mask")


def volume_words(view: PredictionView) -> str:
    """Return each class's colour, name and volume, with what it is in the labels."""
    colours = class_colours(view.run.classes)
    lines = []
    for value, name in view.run.classes.items():
        before = view.before_ml.get(value)
        was = "" if before is None else f" <span style='color:#9AA3AF'>(label {before:.1f})</span>"
        now = millilitres(view.volumes_ml.get(value, 0.0))
        lines.append(f"{swatch(colours[value])} {name}&nbsp; <b>{now}</b>{was}")
    return "<br>".join(lines)
