"""Questions that only the person can answer: which series, and what to do about an odd one."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QListWidget,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

REMEDIES = {
    "resample": "Resample it onto a straight grid",
    "longest-run": "Take the longest regular part",
}


class SeriesDialog(QDialog):
    """Shows what series a place holds and lets the person choose.

    Args:
        name: Of the place.
        titles: Of the series.
        several: Whether more than one may be chosen.
        parent: The window that asks.
    """

    def __init__(
        self, name: str, titles: Sequence[str], *, several: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Which series?")
        heading = QLabel(
            f"{name} holds {len(titles)} series. Choose "
            + ("those to work with: each becomes a case." if several else "the one to open.")
        )
        heading.setWordWrap(True)
        self.list = QListWidget()
        self.list.addItems([f"{at}   {title}" for at, title in enumerate(titles, start=1)])
        modes = QAbstractItemView.SelectionMode
        self.list.setSelectionMode(modes.ExtendedSelection if several else modes.SingleSelection)
        self.list.setCurrentRow(0)
        self.list.itemDoubleClicked.connect(lambda _: self.accept())
        kinds = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(kinds.Open | kinds.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        for widget in (heading, self.list, self.buttons):
            column.addWidget(widget)
        self.resize(560, 320)

    def chosen(self) -> list[int]:
        """Return the numbers of the chosen series, from 1, in their order."""
        return sorted(self.list.row(item) + 1 for item in self.list.selectedItems())


def ask_series(
    name: str, titles: Sequence[str], *, several: bool = False, parent: QWidget | None = None
) -> list[int]:
    """Return the numbers of the series that the person chose, from 1; empty if none."""
    dialog = SeriesDialog(name, titles, several=several, parent=parent)
    return dialog.chosen() if dialog.exec() else []


def ask_remedy(message: str, remedy: str, parent: QWidget | None = None) -> bool:
    """Return whether a remedy is to be taken for a series that makes no regular grid."""
    box = QMessageBox(parent)
    box.setWindowTitle("The slices make no regular grid")
    box.setText(message)
    yes = box.addButton(REMEDIES[remedy], QMessageBox.ButtonRole.AcceptRole)
    box.addButton("Leave it", QMessageBox.ButtonRole.RejectRole)
    box.exec()
    return box.clickedButton() is yes
