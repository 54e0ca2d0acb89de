"""Every training setting as a form, made from the settings themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QWidget

from napari_attnseg.config import ConfigError, TrainConfig
from napari_attnseg.gui.widgets.choice import Choice

AUTOMATIC = "decided by the plan"
FILLED_LATER = ("loss",)
"""Settings whose choices a child tells, since their registries load torch."""


class SettingsForm(QWidget):
    """One line a setting of `TrainConfig`; an empty field leaves the decision to the plan.

    Args:
        hidden: Settings that have a place elsewhere.
    """

    def __init__(self, hidden: Sequence[str] = ()) -> None:
        super().__init__()
        self.fields: dict[str, QWidget] = {}
        self._facts = {one.name: one for one in dataclasses.fields(TrainConfig)}
        form = QFormLayout(self)
        form.setContentsMargins(8, 0, 0, 0)
        form.setVerticalSpacing(2)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for name, one in self._facts.items():
            if name in hidden:
                continue
            self.fields[name] = _widget(one)
            self.fields[name].setToolTip(str(one.metadata.get("help", "")))
            form.addRow(name.replace("_", " "), self.fields[name])

    def set_choices(self, name: str, entries: Sequence[tuple[str, str, str]]) -> None:
        """Fill the menu of a setting with names, titles and summaries; what is chosen stays."""
        menu = self.fields.get(name)
        if entries and isinstance(menu, Choice):
            menu.set_entries(entries)

    def changes(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults.

        Raises:
            ValueError: If a field does not hold a number where one is wanted.
        """
        found = {}
        for name, widget in self.fields.items():
            value = _value(widget, self._facts[name])
            if value != self._facts[name].default:
                found[name] = value
        return found

    def problem(self) -> str:
        """Return in words what cannot be used, or an empty string."""
        try:
            TrainConfig.from_dict(self.changes())
        except ConfigError as error:
            return str(error)
        except ValueError as error:
            return str(error)
        return ""


def _widget(one: dataclasses.Field[Any]) -> QWidget:
    choices = one.metadata.get("choices")
    if one.name in FILLED_LATER:
        choice = Choice(lambda name: None)
        choice.set_entries([(str(one.default), str(one.default), "")])
        return choice
    if choices:
        menu = QComboBox()
        menu.addItems([str(choice) for choice in choices])
        menu.setCurrentText(str(one.default))
        return menu
    if isinstance(one.default, bool):
        box = QCheckBox()
        box.setChecked(one.default)
        return box
    line = QLineEdit("" if one.default is None else str(one.default))
    line.setPlaceholderText(AUTOMATIC)
    return line


def _value(widget: QWidget, one: dataclasses.Field[Any]) -> Any:
    if isinstance(widget, Choice):
        return widget.currentData()
    if isinstance(widget, QComboBox):
        return widget.currentText()
    if isinstance(widget, QCheckBox):
        return widget.isChecked()
    assert isinstance(widget, QLineEdit)
    text = widget.text().strip()
    if not text:
        return None if one.default is None else one.default
    if isinstance(one.default, str):
        return text
    is_whole = "int" in str(one.type)
    try:
        return int(text) if is_whole else float(text)
    except ValueError:
        kind = "a whole number" if is_whole else "a number"
        name = one.name.replace("_", " ")
        raise ValueError(f"{name.capitalize()} is {text!r}; write {kind}.") from None
