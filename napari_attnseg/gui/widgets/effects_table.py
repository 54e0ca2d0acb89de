"""Attention modules ranked by what they change in the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_attnseg.gui.widgets.table import Cell, Table
from napari_attnseg.session.maps import layer_words

HEADINGS = ("module", "effect", "probability", "mask Dice", "gate")
ROW_HEIGHT, HEADER = 22, 26
UNUSED = "#8A93A0"


class EffectsTable(QWidget):
    """One row a module, the one with the largest effect first."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(HEADINGS)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setStyleSheet("font-size: 11px;")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addWidget(self.note)
        self.hide()

    def show_effects(self, sites: Sequence[Mapping[str, Any]], classes: Mapping[int, str]) -> None:
        """Show the ranked modules, or nothing."""
        self.setVisible(bool(sites))
        ranked = sorted(sites, key=lambda one: -float(one.get("effect") or 0.0))
        rows = [(str(one["site"]), effect_cells(one, classes)) for one in ranked]
        self.table.set_rows(rows)
        self.table.setFixedHeight(HEADER + ROW_HEIGHT * min(8, max(1, len(rows))))
        first = str(ranked[0].get("sentence") or "") if ranked else ""
        self.note.setText(
            f"{first} Effect: what changes in the result when the module's gate is replaced by "
            "its mean."
        )


def effect_cells(one: Mapping[str, Any], classes: Mapping[int, str]) -> list[Cell]:
    """Return a module's name, effect, change of probability, Dice of the masks, and mean gate."""
    changed = one.get("with_mean") or one.get("with_identity") or {}
    deltas = {
        classes.get(int(value), str(value)): delta
        for value, delta in (changed.get("delta") or {}).items()
        if delta is not None
    }
    largest = max(deltas.values(), key=abs, default=None)
    names = ", ".join(f"{name} {delta:+.3f}" for name, delta in deltas.items())
    gate = one.get("gate") or {}
    colour = UNUSED if one.get("unused") else ""
    tip = str(one.get("sentence") or "")
    effect = one.get("effect")
    name = f"{layer_words(str(one.get('layer') or one['site']))} · {one.get('attention')}"
    return [
        Cell(name + (" (unused)" if one.get("unused") else ""), colour=colour, tooltip=tip),
        _number(effect, "{:.3f}", colour, tip),
        _number(largest, "{:+.3f}", colour, names),
        _number(changed.get("dice"), "{:.3f}", colour, "Of the mask with and without the gate"),
        _number(gate.get("mean"), "{:.2f}", colour, gate_words(gate)),
    ]


def gate_words(gate: Mapping[str, Any]) -> str:
    """Return a gate's mean, spread and entropy in words."""
    names = (("mean", "mean"), ("std", "spread"), ("entropy", "entropy"))
    return ", ".join(f"{name} {gate[key]:.3f}" for key, name in names if gate.get(key) is not None)


def _number(value: Any, form: str, colour: str, tooltip: str) -> Cell:
    if value is None:
        return Cell("–", -1.0, colour, tooltip, is_number=True)
    return Cell(form.format(float(value)), float(value), colour, tooltip, is_number=True)
