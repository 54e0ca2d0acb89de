"""Dice before and after, side by side, with the choice to keep or to roll back."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from napari_attnseg.gui.widgets.table import Cell, Table
from napari_attnseg.gui.words import count, dice
from napari_attnseg.session.training import Comparison

BETTER, WORSE = "#56B4E9", "#E69F00"
NOTABLE = 0.005


class ComparisonTable(QFrame):
    """The fixed validation cases before and after learning.

    Args:
        keep: Called when the new weights are to be kept.
        roll_back: Called when the old ones are to be used again.
    """

    def __init__(self, keep: Callable[[], None], roll_back: Callable[[], None]) -> None:
        super().__init__()
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.table = Table(("validation case", "before", "after", "change"))
        self.table.setFixedHeight(130)
        self.keep = QPushButton("Keep")
        self.keep.setToolTip("Work with the weights that learned from the case")
        self.roll_back = QPushButton("Roll back")
        self.roll_back.setToolTip("Work with the weights from before; the new run stays on disk")
        self.keep.clicked.connect(lambda: keep())
        self.roll_back.clicked.connect(lambda: roll_back())
        row = QHBoxLayout()
        row.addWidget(self.keep)
        row.addWidget(self.roll_back)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.summary)
        column.addWidget(self.table)
        column.addLayout(row)
        self.hide()

    def show_comparison(self, comparison: Comparison | None) -> None:
        """Show a comparison, or nothing."""
        self.setVisible(comparison is not None)
        if comparison is None:
            return
        self.table.setVisible(bool(comparison.rows))
        if not comparison.rows:
            self.summary.setText(
                f"Learned from {', '.join(comparison.learned)}, but no validation case was "
                "checked before and after, so it is not known whether that helped."
            )
            return
        before, after = comparison.means
        self.summary.setText(
            f"Learned from {', '.join(comparison.learned)}. Dice of the "
            f"{count(len(comparison.rows), 'validation case')}: "
            f"{_three(before)} before, {_three(after)} after."
        )
        self.table.set_rows([(row[0], _cells(*row)) for row in comparison.rows])


def _cells(name: str, before: float | None, after: float | None) -> list[Cell]:
    change = None if before is None or after is None else after - before
    colour = ""
    if change is not None and abs(change) >= NOTABLE:
        colour = BETTER if change > 0 else WORSE
    text = "–" if change is None else f"{change:+.3f}"
    return [
        Cell(name),
        Cell(dice(before), before or -1.0, is_number=True),
        Cell(dice(after), after or -1.0, is_number=True),
        Cell(text, change or 0.0, colour, is_number=True),
    ]


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
