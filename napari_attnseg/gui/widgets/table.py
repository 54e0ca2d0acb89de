"""A table of rows that sorts by value, shows colours, and can be filtered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QFont, QFontMetrics
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

Roles = Qt.ItemDataRole
COMPACT = """
QTableView { font-size: 11px; }
QTableView::item { padding: 1px 2px; }
QHeaderView::section { font-size: 11px; padding: 2px 3px; }
QHeaderView::up-arrow, QHeaderView::down-arrow { width: 7px; height: 7px; }
"""
"""Seven columns fit into a dock of 380 pixels."""

MARGIN = 12
FONT_PIXELS = 11
SORT_ROLE = int(Roles.UserRole) + 1


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Args:
        text: What is shown.
        sort: What it is sorted by; the text by default.
        colour: Of the text.
        tooltip: Shown when hovering.
        is_number: Whether it stands at the right.
    """

    text: str
    sort: Any = None
    colour: str = ""
    tooltip: str = ""
    is_number: bool = False


class Rows(QAbstractTableModel):
    """Rows of cells under headings."""

    def __init__(self, headings: Sequence[str]) -> None:
        super().__init__()
        self.headings = list(headings)
        self.rows: list[tuple[str, list[Cell]]] = []

    def set_rows(
        self, rows: Sequence[tuple[str, list[Cell]]], headings: Sequence[str] | None = None
    ) -> None:
        """Replace the rows; each has a key and its cells."""
        self.beginResetModel()
        self.rows = list(rows)
        self.headings = list(headings) if headings is not None else self.headings
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return how many rows there are."""
        return len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return how many columns there are."""
        return len(self.headings)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Roles.DisplayRole
    ) -> Any:
        """Return a heading."""
        if orientation == Qt.Orientation.Horizontal and role == Roles.DisplayRole:
            return self.headings[section]
        return None

    def data(self, index: QModelIndex, role: int = Roles.DisplayRole) -> Any:
        """Return what a view asks about a cell."""
        cell = self.rows[index.row()][1][index.column()]
        if role == Roles.DisplayRole:
            return cell.text
        if role == SORT_ROLE:
            return cell.text.lower() if cell.sort is None else cell.sort
        if role == Roles.ForegroundRole and cell.colour:
            return QBrush(QColor(cell.colour))
        if role == Roles.ToolTipRole:
            return cell.tooltip or None
        if role == Roles.TextAlignmentRole and cell.is_number:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None


class _Filter(QSortFilterProxyModel):
    """Keeps the rows that a function accepts."""

    def __init__(self) -> None:
        super().__init__()
        self.accepts: Any = lambda key: True
        self.setSortRole(SORT_ROLE)

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:  # noqa: N802 - Qt's name
        """Return whether a row is shown."""
        source: Any = self.sourceModel()
        return bool(self.accepts(source.rows[row][0]))


class Table(QTableView):
    """A table whose rows are known by keys.

    Args:
        headings: One a column; the first column takes the room that is left.
        stretch: Column that takes the room that is left.
    """

    clicked_key = Signal(str)
    opened_key = Signal(str)
    chosen_key = Signal(str)

    def __init__(self, headings: Sequence[str], stretch: int = 0) -> None:
        super().__init__()
        self._rows = Rows(headings)
        self._filter = _Filter()
        self._filter.setSourceModel(self._rows)
        self.setModel(self._filter)
        self._stretch = stretch
        self.setSortingEnabled(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setStyleSheet(COMPACT)
        self.setWordWrap(False)
        # Names of cases differ at their ends.
        self.setTextElideMode(Qt.TextElideMode.ElideLeft)
        _header(self.verticalHeader()).hide()
        _header(self.verticalHeader()).setDefaultSectionSize(22)
        head = _header(self.horizontalHeader())
        head.setMinimumSectionSize(20)
        head.setHighlightSections(False)
        head.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.clicked.connect(lambda index: self.clicked_key.emit(self._key(index)))
        self.doubleClicked.connect(lambda index: self.opened_key.emit(self._key(index)))
        selection = self.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(
            lambda now, _: self.chosen_key.emit(self._key(now) if now.isValid() else "")
        )

    @property
    def keys(self) -> list[str]:
        """Keys of the rows that are shown, from top to bottom."""
        return [self._key(self._filter.index(row, 0)) for row in range(self._filter.rowCount())]

    def text(self, row: int, column: int) -> str:
        """Return the text of a cell that is shown."""
        return str(self._filter.index(row, column).data())

    def chosen(self) -> str | None:
        """Return the key of the selected row, or None."""
        index = self.currentIndex()
        return self._key(index) if index.isValid() else None

    def choose(self, key: str | None) -> None:
        """Select the row with a key."""
        keys = self.keys
        if key in keys:
            self.selectRow(keys.index(key))

    def set_rows(
        self, rows: Sequence[tuple[str, list[Cell]]], headings: Sequence[str] | None = None
    ) -> None:
        """Replace the rows, keeping the selected one selected."""
        key = self.chosen()
        self._rows.set_rows(rows, headings)
        self._fit_columns()
        self.choose(key)

    def show_only(self, accepts: Any) -> None:
        """Show the rows whose key a function accepts."""
        self._filter.accepts = accepts
        self._filter.invalidateFilter()

    def _fit_columns(self) -> None:
        head, metrics = _header(self.horizontalHeader()), self._metrics()
        for column, heading in enumerate(self._rows.headings):
            mode = QHeaderView.ResizeMode
            is_wide = column == self._stretch
            head.setSectionResizeMode(column, mode.Stretch if is_wide else mode.Interactive)
            if not is_wide:
                texts = [heading, *(cells[column].text for _, cells in self._rows.rows[:500])]
                width = max(metrics.horizontalAdvance(text) for text in texts)
                head.resizeSection(column, width + MARGIN)

    def _metrics(self) -> QFontMetrics:
        # Before it is first shown, a widget measures in the font that its style sheet replaces.
        font = QFont(self.font())
        font.setPixelSize(FONT_PIXELS)
        return QFontMetrics(font)

    def _key(self, index: QModelIndex) -> str:
        return str(self._rows.rows[self._filter.mapToSource(index).row()][0])


def _header(header: QHeaderView | None) -> QHeaderView:
    assert header is not None
    return header
