"""One recorded attention map as the browser shows it: what it is decides how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import Dims
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_attnseg.gui.panel import button
from napari_attnseg.gui.viewer.slice_axis import SliceAxis, slice_axis
from napari_attnseg.gui.widgets.cells import Cells
from napari_attnseg.gui.widgets.curve_by_slice import CurveBySlice
from napari_attnseg.gui.widgets.strip import Strip, strip_limits
from napari_attnseg.session.attention import AttentionItem, SampledBox, SliceCurve
from napari_attnseg.session.maps import layer_words
from napari_attnseg.volume import Grid

SMALL, QUIET = "font-size: 11px;", "color: #9AA3AF; font-size: 11px;"
MOST_RUNS = 5
"""Runs of key slices up to which they are named one by one."""

KINDS = {
    "channel": "weight of each channel, no place in the body; click a cell for its feature",
    "spatial": "gate over the image, 0 closed, 1 open",
    "slice": "weight of each slice",
    "axis": "profile along one axis",
    "radix": "how the branches share each channel",
    "affinity": "what each channel takes from the others; click a row for its mixed feature",
    "transform": "the box that is sampled",
    "position": "click a voxel to see what it attends to",
}


class AttentionRow(QWidget):
    """A name, and for each kind what suits it.

    Args:
        item: What was recorded.
        image: Grid of the open case's image.
        show_gate: Called with the name of a map to lay over the image.
        feature: Called with the name and the channel whose feature is wanted.
        jump: Called with an axis and a voxel index to go to.
        attend: Called with this row when a voxel is to be clicked.
        box: Called with a sampled box to draw.
    """

    def __init__(
        self,
        item: AttentionItem,
        image: Grid,
        *,
        show_gate: Callable[[str], None],
        feature: Callable[[str, int], None],
        jump: Callable[[SliceAxis, int], None],
        attend: Callable[[AttentionRow], None],
        box: Callable[[SampledBox], None],
    ) -> None:
        super().__init__()
        self.item = item
        self.overlay: QPushButton | None = None
        self.strip: Cells | None = None
        self.curve: CurveBySlice | None = None
        self.axis: SliceAxis | None = None
        self.click: QPushButton | None = None
        self.column_button: QToolButton | None = None
        self.draw: QPushButton | None = None
        self._feature, self._jump = feature, jump
        self._head = QHBoxLayout()
        self._head.setContentsMargins(0, 0, 0, 0)
        self._body = QVBoxLayout(self)
        self._body.setContentsMargins(0, 2, 0, 4)
        self._body.setSpacing(2)
        self._body.addLayout(self._head)
        self._add_name()
        if item.path is not None:
            self.overlay = button(
                "Overlay", lambda: show_gate(item.name), "Lay this map over the image"
            )
            self._head.addWidget(self.overlay)
        if item.curve is not None:
            self._add_curve(item.curve, image)
        elif item.values:
            self._add_strip(item.values)
        elif item.rows and item.kind in ("radix", "affinity"):
            self._add_table(item.rows)
        if item.kind == "position":
            self._add_attend(attend)
        if item.boxes:
            self._add_box(item.boxes[0], box)

    @property
    def direction(self) -> str:
        """Whether what a voxel attends to (row) or who attends to it (column) is wanted."""
        is_column = self.column_button is not None and self.column_button.isChecked()
        return "column" if is_column else "row"

    def follow(self, dims: Dims) -> None:
        """Mark the shown slice, where this row's axis is the one that is scrolled through."""
        if self.curve is None or self.axis is None:
            return
        axis = self.axis
        step, first = axis.shown(dims)
        is_scrolled = dims.ndisplay == 2 and dims.order[0] == axis.axis
        if first != self.curve.first and self.item.curve is not None:
            self.curve_note.setText(curve_words(self.item.curve, axis, first))
        self.curve.set_current(step if is_scrolled else None, first)

    def _add_name(self) -> None:
        site, _, rest = self.item.name.partition(".")
        words = rest.replace(".", " · ").replace("_", " ")
        name = QLabel(f"<b>{layer_words(site)}</b> · {words}")
        name.setMinimumWidth(60)
        name.setWordWrap(True)
        name.setStyleSheet(SMALL)
        name.setToolTip(f"{self.item.name}: {KINDS.get(self.item.kind, self.item.kind)}")
        self._head.addWidget(name, 1)

    def _add_strip(self, values: tuple[float, ...]) -> None:
        limits = strip_limits(values)
        strip = Strip(values, limits)
        strip.clicked.connect(lambda _, column: self._want(strip, column))
        self.strip = strip
        order = QToolButton()
        order.setText("sort")
        order.setCheckable(True)
        order.setToolTip("The strongest channel first, or the network's own order")
        order.toggled.connect(strip.sort)
        numbers = QLabel(f"{min(values):.2f}–{max(values):.2f}")
        numbers.setStyleSheet(QUIET)
        numbers.setToolTip(
            f"Least and greatest weight; colours span {limits[0]:g} to {limits[1]:g}"
        )
        self._head.addWidget(numbers)
        self._head.addWidget(order)
        self._body.addWidget(strip)

    def _want(self, strip: Strip, column: int) -> None:
        strip.choose((0, column))
        self._feature(self.item.name, strip.channel(column))

    def _add_table(self, rows: tuple[tuple[float, ...], ...]) -> None:
        if self.item.kind == "radix":
            names = [f"branch {n + 1}" for n in range(len(rows))]
            self.strip = Strip(rows, (0.0, 1.0), names)
        else:
            # Most weights of a softmax over channels are small: their logarithms tell them apart.
            values = np.log10(np.maximum(np.asarray(rows), 1e-6))
            high = max(1, 96 // len(rows))
            self.strip = Cells(values, (float(values.min()), 0.0), say_affinity, high)
            self.strip.clicked.connect(lambda row, _: self._want_mixed(row))
            note = QLabel(
                "Each row: what a channel takes from the others, as a logarithm. With DANet's own "
                "code unlike channels weigh most."
            )
            note.setStyleSheet(QUIET)
            note.setWordWrap(True)
            self._body.addWidget(note)
        self._body.addWidget(self.strip)

    def _want_mixed(self, row: int) -> None:
        if self.strip is not None:
            self.strip.choose((row, 0))
        self._feature(self.item.name, row)

    def _add_curve(self, found: SliceCurve, image: Grid) -> None:
        axis = self.axis = slice_axis(image, found.axis)
        limits = found.bounds or (min(0.0, *found.mean), max(0.0, *found.mean) or 1.0)
        spread = (found.low, found.high) if found.low and found.high else None
        self.curve = CurveBySlice(
            [axis.step(place) for place in found.places],
            found.mean,
            axis.steps,
            limits=limits,
            ends=axis.ends,
            keys=found.keys,
            spread=spread,
        )
        self.curve.jumped.connect(
            lambda step: self._jump(axis, min(axis.steps - 1, max(0, round(axis.index(step)))))
        )
        self._body.addWidget(self.curve)
        self.curve_note = QLabel(curve_words(found, axis))
        self.curve_note.setStyleSheet(QUIET)
        self.curve_note.setWordWrap(True)
        self._body.addWidget(self.curve_note)

    def _add_attend(self, attend: Callable[[AttentionRow], None]) -> None:
        self.click = button(
            "Click a voxel",
            lambda: attend(self),
            "Then click in the image to see what that voxel attends to; Esc ends",
        )
        self.click.setCheckable(True)
        self.column_button = QToolButton()
        self.column_button.setText("who attends to it")
        self.column_button.setCheckable(True)
        self.column_button.setToolTip(
            "Instead of what the voxel attends to: which voxels attend to it"
        )
        self._head.addWidget(self.click)
        self._body.addWidget(self.column_button)

    def _add_box(self, found: SampledBox, box: Callable[[SampledBox], None]) -> None:
        self.draw = button("Draw", lambda: box(found), "Draw the sampled box in the image")
        self.draw.setCheckable(True)
        self._head.addWidget(self.draw)
        note = QLabel(found.words)
        note.setStyleSheet(QUIET)
        note.setWordWrap(True)
        self._body.addWidget(note)


def curve_words(curve: SliceCurve, axis: SliceAxis, first: int = 0) -> str:
    """Return which slices a curve is about, and which of them are key slices.

    Args:
        curve: The weights.
        axis: The axis they run along.
        first: What the slider calls the image's first slice.
    """
    steps = sorted(
        round(axis.step(place)) + first
        for place, is_key in zip(curve.places, curve.keys, strict=False)
        if is_key
    )
    words = f"Weight of the {axis.plane} slices"
    runs = runs_of(steps)
    if len(runs.split(",")) > MOST_RUNS:
        words += f"; {len(steps)} of {len(curve.places)} are key slices (blue, with a foot)"
    elif steps:
        words += f"; key slices {runs} (blue, with a foot)"
    if curve.low:
        words += "; lines: quartiles over channels"
    return words + ". A click goes to a slice."


def runs_of(numbers: list[int]) -> str:
    """Return ascending numbers with neighbours joined, such as ``3, 14-22``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number <= parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in parts)


def say_affinity(row: int, column: int, value: Any) -> str:
    """Return what a cell of a matrix of channels says."""
    return f"channel {row} takes {10 ** float(value):.2g} of channel {column}"
