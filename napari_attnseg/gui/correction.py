"""Correct and learn: save what was painted, let the network learn from it, compare, decide."""

from __future__ import annotations

from napari.layers import Labels
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.panel import allow, button
from napari_attnseg.gui.viewer.facts import facts_of
from napari_attnseg.gui.widgets.comparison import ComparisonTable
from napari_attnseg.session.training import Comparison


class Correction(QFrame):
    """Buttons for the open case's labels, and the Dice before and after learning from it.

    Args:
        bench: The session and the viewer it shows.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench, self.session = bench, bench.session
        self.heading = QLabel("<b>Correct and learn</b>")
        self.save = button("Save correction", self._save)
        self.take = button("Take selected layer", self._take)
        self.learn = button("Learn from this case", self._learn)
        self.table = ComparisonTable(self.session.training.keep, self.session.training.roll_back)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.heading)
        column.addLayout(_row(self.save, self.learn))
        column.addWidget(self.take)
        column.addWidget(self.table)
        self.session.training.compared.connect(self._compared)
        self.session.on_change(self.refresh)
        bench.viewer.layers.selection.events.active.connect(lambda _: self.refresh())
        self._compared(self.session.training.comparison)
        self.refresh()

    def refresh(self) -> None:
        """Enable what can be done now."""
        case = self.session.cases.case
        closed = "" if case is not None else "Open a case first."
        allow(
            self.save,
            closed,
            "Saves the labels of the open case as your correction; the "
            "original file is never changed",
        )
        names = [case.name] if case is not None else []
        reason = closed or self.session.training.why_not_learn(names)
        allow(
            self.learn, reason, "Saves the correction, then trains on old and new cases together"
        )
        other = self._other_labels()
        self.take.setVisible(other is not None)
        if other is not None:
            self.take.setText(f"Take “{other.name}” as labels")
            self.take.setToolTip("Copies the selected labels layer into this case's labels")

    def _save(self) -> None:
        self.bench.save_labels("corrected")

    def _learn(self) -> None:
        case = self.session.cases.case
        if case is not None:
            self.bench.save_labels("corrected")
            self.session.training.learn_from([case.name])

    def _take(self) -> None:
        layer = self._other_labels()
        if layer is not None and not self.bench.layers.take_as_labels(layer):
            self.session.say(
                f"{layer.name} is on another grid than the image. Draw it over the image, or "
                "resample it to the image first."
            )

    def _other_labels(self) -> Labels | None:
        layer = self.bench.viewer.layers.selection.active
        ours = self.bench.layers.labels
        if ours is None or layer is ours or not isinstance(layer, Labels):
            return None
        facts = facts_of(layer)
        return None if facts is not None and facts.role != "labels" else layer

    def _compared(self, comparison: Comparison | None) -> None:
        self.table.show_comparison(comparison)


def _row(*buttons: QPushButton) -> QHBoxLayout:
    row = QHBoxLayout()
    for one in buttons:
        row.addWidget(one)
    return row
