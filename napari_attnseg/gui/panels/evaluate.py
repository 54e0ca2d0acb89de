"""Evaluate: one row a case, worst first; a click goes to the slice that needs a look."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.colours import class_colours, swatch
from napari_attnseg.gui.panel import PANELS, Panel, allow, button
from napari_attnseg.gui.widgets.choice import Choice
from napari_attnseg.gui.widgets.table import Cell, Table
from napari_attnseg.gui.words import count, dice
from napari_attnseg.session.scores import ScoreRow, Scores

POOR = 0.75
POOR_COLOUR = "#E69F00"


@PANELS.register("evaluate")
class EvaluatePanel(Panel):
    """Compare a run's masks with the labels of the cases it did not learn from."""

    title = "Evaluate"
    order = 5

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.runs = Choice(self.session.model.use_run)
        self.evaluate = button("Compare with labels", self.session.scores.evaluate)
        self.table = Table(("case",))
        self.table.setMinimumHeight(240)
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.save = button("Table…", self._ask_csv, "Saves the table as CSV")
        self._lay_out()
        self._connect()
        self._refresh()
        self._show(self.session.scores.scores)

    def why_not(self) -> str:
        """Return why nothing can be evaluated yet."""
        return "" if self.session.model.run is not None else "Choose or train a model first."

    def main_button(self) -> QPushButton:
        """Return the button that compares."""
        return self.evaluate

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.runs, 1)
        row.addWidget(self.evaluate)
        self.column.addLayout(row)
        self.column.addWidget(self.table, 1)
        self.column.addWidget(self.summary)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.save)
        self.column.addLayout(row)

    def _connect(self) -> None:
        self.session.scores.ready.connect(self._show)
        self.session.on_change(self._refresh)
        self.table.clicked_key.connect(self._go_to)

    def _go_to(self, name: str) -> None:
        self.bench.save_draft()
        self.session.scores.go_to_worst_slice(name)

    def _refresh(self) -> None:
        model = self.session.model
        usable = [run for run in model.runs if run.has_weights]
        self.runs.set_entries([(run.id, run.title, str(run.path)) for run in reversed(usable)])
        if model.run is not None:
            self.runs.choose(model.run.id)
        allow(
            self.evaluate,
            self.session.scores.why_not(),
            "Segments the checked cases where that is missing, then compares (Ctrl+Enter)",
        )
        none = "" if self.session.scores.scores is not None else "Compare with labels first."
        allow(self.save, none, "Saves the table as CSV")

    def _show(self, scores: Scores | None) -> None:
        if scores is None:
            self.table.set_rows([], ["case", "Dice", "volume"])
            self.summary.setText("Compares masks with labels, case by case, worst first.")
            return
        classes = scores.run.classes
        headings = ["case", *classes.values(), "volume diff"]
        self.table.set_rows([(row.case, _cells(row, classes)) for row in scores.rows], headings)
        self.summary.setText(summary_words(scores))

    def _ask_csv(self) -> None:
        found, _ = QFileDialog.getSaveFileName(self, "Save the table", "dice.csv", "CSV (*.csv)")
        if found:
            self.session.scores.write_csv(Path(found))


def summary_words(scores: Scores) -> str:
    """Return mean and standard deviation of each class's Dice, in its colour."""
    colours = class_colours(scores.run.classes)
    parts = []
    for value, name in scores.run.classes.items():
        found = scores.summary(value)
        text = "–" if found is None else f"<b>{found[0]:.3f}</b> ± {found[1]:.3f}"
        parts.append(f"{swatch(colours[value])} {name} {text}")
    cases = f"Dice, mean ± SD of {count(len(scores.rows), 'case')}"
    missing = ""
    if scores.unmatched:
        missing = f"<br>{count(len(scores.unmatched), 'case')} without a mask"
    return f"{cases}<br>" + "<br>".join(parts) + missing


def _cells(row: ScoreRow, classes: dict[int, str]) -> list[Cell]:
    cells = [Cell(row.case, tooltip="A click opens the case at its worst slice")]
    for value in classes:
        score = row.dice.get(value)
        poor = score is not None and score < POOR
        iou = row.iou.get(value)
        tip = "in neither mask" if score is None else f"IoU {iou:.3f}" if iou is not None else ""
        cells.append(
            Cell(
                dice(score),
                -1.0 if score is None else score,
                POOR_COLOUR if poor else "",
                tip,
                is_number=True,
            )
        )
    change = row.volume_difference
    text = "–" if change is None else f"{100 * change:+.0f} %"
    tip = f"{sum(row.volume_ml.values()):.1f} mL, label {sum(row.reference_ml.values()):.1f} mL"
    cells.append(Cell(text, -9.0 if change is None else change, tooltip=tip, is_number=True))
    return cells
