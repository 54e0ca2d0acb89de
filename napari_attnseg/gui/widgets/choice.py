"""Menus whose senseless entries are disabled and say why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QCheckBox, QComboBox, QWidget

from napari_attnseg.gui.widgets.flow import FlowLayout


class Choice(QComboBox):
    """A menu of named entries with titles, tooltips and reasons against.

    Args:
        chosen: Called with the name when the person chooses.
    """

    def __init__(self, chosen: Callable[[str], None]) -> None:
        super().__init__()
        self._entries = QStandardItemModel(self)
        self.setModel(self._entries)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.activated.connect(lambda index: chosen(str(self.itemData(index))))

    def set_entries(
        self, entries: Sequence[tuple[str, str, str]], reasons: Mapping[str, str] | None = None
    ) -> None:
        """Replace the entries (name, title, tooltip); those with a reason cannot be chosen."""
        current = self.currentData()
        self.blockSignals(True)
        self._entries.clear()
        for name, title, tooltip in entries:
            item = QStandardItem(title)
            item.setData(name, Qt.ItemDataRole.UserRole)
            reason = (reasons or {}).get(name, "")
            item.setToolTip(reason or tooltip)
            item.setEnabled(not reason)
            self._entries.appendRow(item)
        self.choose(current)
        self.blockSignals(False)

    def choose(self, name: str | None) -> None:
        """Show an entry as chosen without calling anyone."""
        index = self.findData(name)
        if index >= 0:
            self.blockSignals(True)
            self.setCurrentIndex(index)
            self.blockSignals(False)

    def reason(self, name: str) -> str:
        """Return why an entry cannot be chosen, or an empty string."""
        item = self._entries.item(self.findData(name))
        return "" if item is None or item.isEnabled() else item.toolTip()


class Places(QWidget):
    """Check boxes for the places where attention can sit.

    Args:
        changed: Called with the chosen places when the person changes one.
    """

    def __init__(self, changed: Callable[[tuple[str, ...]], None]) -> None:
        super().__init__()
        self._changed = changed
        self._row = FlowLayout(self)
        self.boxes: dict[str, QCheckBox] = {}

    def set_places(self, places: Mapping[str, str], chosen: Sequence[str]) -> None:
        """Show places, each with the reason against it or an empty string."""
        if list(places) != list(self.boxes):
            self._rebuild(list(places))
        for place, reason in places.items():
            box = self.boxes[place]
            box.blockSignals(True)
            box.setChecked(place in chosen and not reason)
            box.blockSignals(False)
            box.setEnabled(not reason)
            box.setToolTip(reason or f"Attention at the network's {place}")

    def chosen(self) -> tuple[str, ...]:
        """Return the places that are ticked."""
        return tuple(place for place, box in self.boxes.items() if box.isChecked())

    def _rebuild(self, places: list[str]) -> None:
        for box in self.boxes.values():
            self._row.removeWidget(box)
            box.hide()
            box.deleteLater()
        self.boxes = {place: QCheckBox(place) for place in places}
        for box in self.boxes.values():
            box.toggled.connect(lambda _: self._changed(self.chosen()))
            self._row.addWidget(box)
