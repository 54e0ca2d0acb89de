"""Options of a method as a form, made from what the method tells of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSlider,
    QSpinBox,
    QWidget,
)

MOST = 10**6
MOST_STEPS = 200
"""Range of whole numbers up to which a slider is easier than a field."""
SMALL = 8
"""Default of a whole number without an end up to which a slider reaches four times as far."""


class OptionsForm(QWidget):
    """One line an option: a tick, a menu, a slider where both ends are known, else a field."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, QWidget] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setVerticalSpacing(2)
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)

    def show_options(self, options: Any) -> None:
        """Show other options: a list of facts with ``name``, or facts by name."""
        facts = options_by_name(options)
        if facts == self._facts:
            return
        while self._form.rowCount():
            self._form.removeRow(0)
        self._facts, self.fields = facts, {}
        for name, about in facts.items():
            self.fields[name] = option_widget(about)
            tip = str(about.get("help") or about.get("summary") or "")
            self.fields[name].setToolTip(tip)
            title = str(about.get("title") or name.replace("_", " "))
            self._form.addRow(title, self.fields[name])
        self.setVisible(bool(facts))

    def values(self) -> dict[str, Any]:
        """Return the options that differ from their defaults.

        Raises:
            ValueError: If something other than a number stands where one is wanted.
        """
        found = {name: option_value(widget) for name, widget in self.fields.items()}
        return {
            name: value
            for name, value in found.items()
            if value != self._facts[name].get("default")
        }


class Slide(QWidget):
    """A slider of whole numbers with its value beside it.

    Args:
        low, high: Its ends.
        value: Where it stands.
    """

    def __init__(self, low: int, high: int, value: int) -> None:
        super().__init__()
        self.slider, self.label = QSlider(Qt.Orientation.Horizontal), QLabel(str(value))
        self.slider.setRange(low, high)
        self.slider.setValue(value)
        self.slider.valueChanged.connect(lambda now: self.label.setText(str(now)))
        self.label.setMinimumWidth(24)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.slider, 1)
        row.addWidget(self.label)


class Written(QLineEdit):
    """A field that may stay empty, for an option that can decide for itself.

    Args:
        kind: Name of the type that is wanted.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def value(self) -> Any:
        """Return what was written; None where nothing was.

        Raises:
            ValueError: If a number is wanted and something else was written.
        """
        text = self.text().strip()
        if not text or self._kind not in ("int", "float"):
            return text or None
        try:
            return int(text) if self._kind == "int" else float(text)
        except ValueError:
            wanted = "a whole number" if self._kind == "int" else "a number"
            raise ValueError(f"{text!r} was written where {wanted} is wanted.") from None


def options_by_name(options: Any) -> dict[str, dict[str, Any]]:
    """Return facts by name, whichever of the two forms they came in."""
    if isinstance(options, Mapping):
        return {
            str(name): dict(one) if isinstance(one, Mapping) else {"default": one}
            for name, one in options.items()
        }
    if isinstance(options, Sequence):
        return {str(one["name"]): dict(one) for one in options}
    return {}


def option_widget(about: Mapping[str, Any]) -> QWidget:
    """Return the widget that suits an option's default and its limits."""
    default, choices = about.get("default"), about.get("choices")
    if choices:
        menu = QComboBox()
        for choice in choices:
            menu.addItem(str(choice), choice)
        menu.setCurrentIndex(max(0, menu.findData(default)))
        return menu
    if isinstance(default, bool):
        box = QCheckBox()
        box.setChecked(default)
        return box
    kind = str(about.get("type") or type(default).__name__)
    low, high = about.get("minimum"), about.get("maximum")
    if kind == "int" and default is not None:
        end = high if high is not None else 4 * default if default <= SMALL else None
        if low is not None and end is not None and end - low <= MOST_STEPS:
            return Slide(int(low), int(end), int(default))
        spin = QSpinBox()
        spin.setRange(int(low if low is not None else -MOST), int(high or MOST))
        spin.setValue(int(default))
        return spin
    if kind == "float" and default is not None:
        field = QDoubleSpinBox()
        field.setDecimals(3)
        field.setRange(float(low if low is not None else -MOST), float(high if high else MOST))
        field.setValue(float(default))
        return field
    line = Written(kind)
    line.setText("" if default is None else str(default))
    line.setPlaceholderText("automatic")
    return line


def option_value(widget: QWidget) -> Any:
    """Return what a widget of `option_widget` holds."""
    if isinstance(widget, Slide):
        return widget.slider.value()
    if isinstance(widget, QComboBox):
        return widget.currentData()
    if isinstance(widget, QCheckBox):
        return widget.isChecked()
    if isinstance(widget, Written):
        return widget.value()
    assert isinstance(widget, (QSpinBox, QDoubleSpinBox))
    return widget.value()
