"""The attention browser: everything that the attention modules did, module by module."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_attnseg.axes import Size
from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.explaining.rows import AttentionRow
from napari_attnseg.gui.viewer.picking import Picker
from napari_attnseg.gui.viewer.slice_axis import SliceAxis
from napari_attnseg.gui.widgets.effects_table import EffectsTable
from napari_attnseg.gui.widgets.job_button import JobButton
from napari_attnseg.session.attention import AttentionItem, AttentionView, SampledBox

CAUTION = "Attention weight = gate inside the network, not proof of importance."


class AttentionBrowser(QWidget):
    """Rows of attention maps, and the table of their effects.

    Args:
        bench: The session and the viewer it shows.
        picker: Lets a person click a voxel.
    """

    def __init__(self, bench: Bench, picker: Picker) -> None:
        super().__init__()
        self.bench, self.session, self.picker = bench, bench.session, picker
        desk = self.desk = bench.session.explanations
        self.look = JobButton(
            "Look at attention",
            desk.look_at_attention,
            lambda: desk.stop("attention"),
            lambda: desk.running("attention"),
        )
        self.effects = JobButton(
            "Measure effects",
            desk.measure_effects,
            lambda: desk.stop("effects"),
            lambda: desk.running("effects"),
        )
        self.table = EffectsTable()
        self.busy = QLabel()
        self.note = QLabel(CAUTION)
        self.rows: list[AttentionRow] = []
        self._items = QVBoxLayout()
        self._picking: AttentionRow | None = None
        self._lay_out()
        desk.attention_ready.connect(self.show_attention)
        desk.effects_ready.connect(self._show_effects)
        self.session.work.changed.connect(self._follow_jobs)
        for event in self._slice_events():
            event.connect(self._follow_slices)

    def refresh(self) -> None:
        """Enable what can be asked now."""
        run = self.session.model.run
        reason = self.desk.why_not()
        if run is not None and run.model.attention == "none":
            reason = "This network has no attention module."
        self.look.allow(reason, "What every attention module did for this case")
        self.effects.allow(
            reason, "What changes in the result when a gate is replaced by its mean"
        )

    def show_attention(self, view: AttentionView | None) -> None:
        """Show what was recorded, or nothing."""
        self.picker.stop()
        self.bench.maps.boxes.remove()
        self.table.show_effects((), {})
        for row in self.rows:
            self._items.removeWidget(row)
            row.hide()
            row.deleteLater()
        case = self.session.cases.case
        layers = [name for name, _ in self.desk.layers()]
        items = shown_items(view, layers) if view is not None and case is not None else []
        self.rows = [
            AttentionRow(
                item,
                case.image.grid,  # type: ignore[union-attr]
                show_gate=self.desk.show_gate,
                feature=self.desk.feature,
                jump=self._jump,
                attend=self._attend,
                box=self._draw_box,
            )
            for item in items
        ]
        for row in self.rows:
            self._items.addWidget(row)
        if view is not None and not items:
            self._say(view.reason or "This network recorded no attention.")
        self._follow_slices()

    def _lay_out(self) -> None:
        heading = QLabel("<b>Attention inside the network</b>")
        heading.setWordWrap(True)
        self.note.setStyleSheet("color: #9AA3AF; font-size: 11px;")
        self.note.setWordWrap(True)
        self.busy.setStyleSheet("color: #F0E442; font-size: 11px;")
        self.busy.setWordWrap(True)
        self.busy.hide()
        row = QHBoxLayout()
        row.addWidget(self.look)
        row.addWidget(self.effects)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(heading)
        column.addLayout(row)
        column.addWidget(self.busy)
        column.addLayout(self._items)
        column.addWidget(self.table)
        column.addWidget(self.note)

    def _slice_events(self) -> tuple[Any, ...]:
        events = self.bench.viewer.dims.events
        return events.current_step, events.order, events.ndisplay, events.range

    def _follow_slices(self, event: Any = None) -> None:
        dims = self.bench.viewer.dims
        if dims.ndim != 3 or not self.rows:
            return
        for row in self.rows:
            row.follow(dims)

    def _jump(self, axis: SliceAxis, index: int) -> None:
        if self.bench.planes.plane() != axis.plane:
            self.bench.planes.show(axis.plane)
        self.bench.layers.go_to_slice(axis.axis, index)

    def _attend(self, row: AttentionRow) -> None:
        case = self.session.cases.case
        if self._picking is row or case is None:
            self.picker.stop()
            return
        self.picker.start(
            case.image.grid,
            "Click a voxel to see\nwhat it attends to",
            lambda voxel: self._picked(row, voxel),
            self._picking_ended,
        )
        self._picking = row
        self._check_buttons()

    def _picked(self, row: AttentionRow, voxel: Size) -> None:
        case = self.session.cases.case
        if case is None:
            return
        if self.desk.running("attend"):
            self._say("The last click is still being answered.")
            return
        self.bench.maps.extras.mark(voxel)
        at = tuple(float(mm) for mm in case.image.grid.world(np.array(voxel)))
        self.desk.attend(row.item.name, at, row.direction)

    def _picking_ended(self) -> None:
        self._picking = None
        self._check_buttons()

    def _check_buttons(self) -> None:
        for row in self.rows:
            if row.click is not None:
                row.click.setChecked(row is self._picking)

    def _draw_box(self, box: SampledBox) -> None:
        boxes = self.bench.maps.boxes
        if boxes.box is box:
            boxes.remove()
        else:
            boxes.show(box)
        for row in self.rows:
            if row.draw is not None:
                row.draw.setChecked(bool(row.item.boxes) and boxes.box is row.item.boxes[0])

    def _show_effects(self, event: dict[str, Any]) -> None:
        run = self.session.model.run
        self.table.show_effects(event.get("sites") or (), run.classes if run is not None else {})

    def _follow_jobs(self, work: object) -> None:
        self.look.refresh()
        self.effects.refresh()
        running = self.desk.running("attend") or self.desk.running("feature")
        self._say(f"{running.title}…" if running is not None else "")

    def _say(self, text: str) -> None:
        self.busy.setText(text)
        self.busy.setVisible(bool(text))


def shown_items(view: AttentionView, layers: list[str]) -> list[AttentionItem]:
    """Return the items to show, module by module in the order in which the network runs.

    Key slices are marked in the curve of their module, so they need no row of their own.
    """
    marked = {item.module for item in view.items if item.curve is not None and item.curve.keys}
    kept = [
        item
        for item in view.items
        if item.curve is not None or item.kind != "slice" or item.module not in marked
    ]
    places = {name: index for index, name in enumerate(layers)}
    return sorted(kept, key=lambda item: places.get(item.site, len(places)))
