"""Evaluate: one row a case, worst first; a click goes to the slice that needs a look."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.colours import class_colours, swatch
from napari_attnseg.gui.panel import PANELS, Panel, allow, button
from napari_attnseg.gui.widgets.choice import Choice
from napari_attnseg.gui.widgets.comparison import BETTER, NOTABLE, WORSE
from napari_attnseg.gui.widgets.table import Cell, Table
from napari_attnseg.gui.words import count, dice
from napari_attnseg.session.run_comparison import RunComparison
from napari_attnseg.session.scores import ScoreRow, Scores

NO_RUN = ""
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
        self.other = Choice(self._compare_with)
        self.difference = QLabel()
        self.difference.setWordWrap(True)
        self.save = button("Table…", self._ask_csv)
        self.report = button("Report…", self._ask_report)
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
        row.addWidget(QLabel("Compare with"))
        row.addWidget(self.other, 1)
        self.column.addLayout(row)
        self.column.addWidget(self.difference)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.save)
        row.addWidget(self.report)
        self.column.addLayout(row)

    def _connect(self) -> None:
        self.session.scores.ready.connect(self._show)
        self.session.scores.compared.connect(self._show_comparison)
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
        scores = self.session.scores.scores
        none = "" if scores is not None else "Compare with labels first."
        allow(self.save, none, "Saves the table as CSV")
        allow(self.report, none, "Saves one page to read and to send on, as HTML or Markdown")
        others = [run for run in reversed(model.runs) if scores is None or run.id != scores.run.id]
        entries = [(NO_RUN, "no other run", "")]
        self.other.set_entries([*entries, *((run.id, run.title, str(run.path)) for run in others)])
        alone = "" if others else "There is no other run yet."
        allow(self.other, none or alone, "Case by case, on the same cases")

    def _compare_with(self, name: str) -> None:
        self.session.scores.compare_with(None if name == NO_RUN else name)

    def _show_comparison(self, found: RunComparison | None) -> None:
        scores = self.session.scores.scores
        if scores is not None:
            self._show_rows(scores, found)

    def _show_rows(self, scores: Scores, found: RunComparison | None) -> None:
        classes = scores.run.classes
        extra = [] if found is None else [f"vs run {found.other.short}"]
        headings = ["case", *classes.values(), *extra, "volume diff"]
        rows = [(row.case, _cells(row, classes, found)) for row in scores.rows]
        self.table.set_rows(rows, headings)
        self.difference.setText("" if found is None else found.words())
        self.difference.setVisible(found is not None)

    def _show(self, scores: Scores | None) -> None:
        self.other.choose(NO_RUN)
        self.difference.hide()
        if scores is None:
            self.table.set_rows([], ["case", "Dice", "volume"])
            self.summary.setText("Compares masks with labels, case by case, worst first.")
            return
        self._show_rows(scores, None)
        self.summary.setText(summary_words(scores))

    def _ask_csv(self) -> None:
        found, _ = QFileDialog.getSaveFileName(self, "Save the table", "dice.csv", "CSV (*.csv)")
        if found:
            self.session.scores.write_csv(Path(found))

    def _ask_report(self) -> None:
        found, _ = QFileDialog.getSaveFileName(
            self, "Save the report", "report.html", "HTML (*.html);;Markdown (*.md)"
        )
        if found:
            self.session.scores.write_report(Path(found))


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


def difference_cell(row: ScoreRow, found: RunComparison, classes: dict[int, str]) -> Cell:
    """Return how much better a case is than in the other run, with a sign and a colour."""
    mean = found.mean(row.case)
    if mean is None:
        return Cell("–", -9.0, tooltip="No score in the other run", is_number=True)
    parts = found.differences[row.case].items()
    tip = ", ".join(f"{classes.get(value, value)} {one:+.3f}" for value, one in parts)
    colour = "" if abs(mean) < NOTABLE else BETTER if mean > 0 else WORSE
    return Cell(f"{mean:+.3f}", mean, colour, tip, is_number=True)


def _cells(row: ScoreRow, classes: dict[int, str], found: RunComparison | None) -> list[Cell]:
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
    if found is not None:
        cells.append(difference_cell(row, found, classes))
    change = row.volume_difference
    text = "–" if change is None else f"{100 * change:+.0f} %"
    tip = f"{sum(row.volume_ml.values()):.1f} mL, label {sum(row.reference_ml.values()):.1f} mL"
    cells.append(Cell(text, -9.0 if change is None else change, tooltip=tip, is_number=True))
    return cells
