"""The map that is shown: its colours with real values, its caption, and what to do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtWidgets import QCheckBox, QLabel, QVBoxLayout, QWidget

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.panel import allow
from napari_attnseg.gui.viewer.maps import UNUSED, map_colormap, value_range, view_signed
from napari_attnseg.gui.widgets.choice import Choice
from napari_attnseg.gui.widgets.colour_bar import ColourBar
from napari_attnseg.gui.widgets.flow import FlowLayout
from napari_attnseg.gui.widgets.table import Cell, Table
from napari_attnseg.gui.words import millilitres
from napari_attnseg.session.errors import Errors, class_errors
from napari_attnseg.session.maps import MapView

QUIET = "color: #9AA3AF; font-size: 11px;"


class ShownMap(QWidget):
    """What there is to know of the map over the image.

    Args:
        bench: The session and the viewer it shows.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench, self.session = bench, bench.session
        self.reason, self.caption, self.remarks = QLabel(), QLabel(), QLabel()
        self.bar = ColourBar()
        self.lock = QCheckBox("keep these limits")
        self.lock.setToolTip("The same colours mean the same values in the maps to come")
        self.errors = QCheckBox("outline errors")
        self.errors_note = QLabel()
        self.modalities = Table(("image", "share", "fall", "gradients"))
        self.earlier = Choice(self.session.explanations.show_earlier)
        self.view: MapView | None = None
        self._lay_out()
        self.lock.toggled.connect(self._lock)
        self.errors.toggled.connect(lambda _: self._show_errors())
        self.session.explanations.earlier_changed.connect(self._fill_earlier)
        self.session.predictions.ready.connect(lambda _: self.refresh())
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.view = None
        for widget in (self.bar, self.caption, self.reason, self.remarks, self.modalities):
            widget.hide()
        self.lock.hide()
        self.errors.setChecked(False)
        self.refresh()

    def show_map(self, view: MapView) -> None:
        """Show what belongs to a map, or the sentence that says why there is none."""
        self.clear()
        self.view = view
        if view.volume is None:
            self.reason.setText(view.reason)
            self.reason.show()
            self._show_modalities(view)
            return
        is_signed, limits = view_signed(view), self.bench.maps.limits
        colours = UNUSED if view.is_unused else map_colormap(is_signed=is_signed)
        low, high = value_range(view.volume)
        self.bar.show_map(colours, limits, (low, high))
        is_told = is_signed and view.is_class_map
        meaning = " Green speaks for it, violet against." if is_told else ""
        self.caption.setText(f"{low:.3g} … {high:.3g} · {view.caption.rstrip('.')}.{meaning}")
        self.remarks.setText("\n".join(view.remarks))
        self.remarks.setVisible(bool(view.remarks))
        self._show_modalities(view)
        for widget in (self.bar, self.caption):
            widget.show()
        self.lock.setVisible(view.is_class_map)
        self.refresh()

    def refresh(self) -> None:
        """Enable what can be shown with the map."""
        allow(self.errors, self._why_no_errors(), "White: missed. Magenta: invented")
        self.errors_note.setVisible(self.errors.isChecked())

    def _lay_out(self) -> None:
        self.caption.setWordWrap(True)
        self.reason.setWordWrap(True)
        self.remarks.setWordWrap(True)
        self.remarks.setStyleSheet("color: #F0E442; font-size: 11px;")
        self.errors_note.setStyleSheet(QUIET)
        self.errors_note.setWordWrap(True)
        self.modalities.setFixedHeight(96)
        ticks = QWidget()
        row = FlowLayout(ticks)
        for tick in (self.lock, self.errors):
            row.addWidget(tick)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        for widget in (
            self.earlier,
            self.reason,
            self.bar,
            self.caption,
            self.remarks,
            self.modalities,
            ticks,
            self.errors_note,
        ):
            column.addWidget(widget)
        self._fill_earlier()

    def _lock(self, is_locked: bool) -> None:
        self.bench.maps.lock(is_locked)

    def _fill_earlier(self) -> None:
        found = self.session.explanations.earlier
        entries = [("", "maps of this case, made before…", "")]
        entries += [
            (str(one.path), one.title + (" ✓ checked" if one.is_checked else ""), str(one.path))
            for one in found
        ]
        self.earlier.set_entries(entries)
        self.earlier.setCurrentIndex(0)
        self.earlier.setVisible(bool(found))

    def _why_no_errors(self) -> str:
        case, prediction = self.session.cases.case, self.session.predictions.view
        if case is None:
            return "Open a case first."
        if case.label is None:
            return "Errors are known only where the case has a label."
        return "" if prediction is not None else "Segment the case first."

    def _show_errors(self) -> None:
        case, prediction = self.session.cases.case, self.session.predictions.view
        value = int((self.view.info.get("class") if self.view is not None else None) or 0)
        if not self.errors.isChecked() or case is None or prediction is None:
            self.bench.maps.extras.show_errors(None)
            self.refresh()
            return
        label = case.label
        if label is None:
            return
        values = [value] if value else list(prediction.run.classes)
        self.session.background.run(
            "looking for the errors",
            lambda: [class_errors(prediction.labels, label, one) for one in values],
            lambda found: self._have_errors(case.name, values, found),
        )
        self.refresh()

    def _have_errors(self, case: str, values: list[int], found: list[Errors]) -> None:
        opened = self.session.cases.case
        if opened is None or opened.name != case or not self.errors.isChecked():
            return
        merged = found[0].values
        for one in found[1:]:
            merged = merged.copy()
            merged[one.values > 0] = one.values[one.values > 0]
        self.bench.maps.extras.show_errors(merged)
        missed, invented = (
            millilitres(sum(getattr(one, name) for one in found))
            for name in ("missed_ml", "invented_ml")
        )
        what = opened.name if len(values) != 1 else self.session.cases.classes.get(values[0], "")
        self.errors_note.setText(
            f"{what}: <span style='color:#FFFFFF'>■</span> missed {missed}, "
            f"<span style='color:#FF4FD8'>■</span> invented {invented}"
        )
        self.refresh()

    def _show_modalities(self, view: MapView) -> None:
        rows = modality_rows(view.info.get("modalities"), view.run.channels)
        self.modalities.setVisible(bool(rows))
        if rows:
            self.modalities.set_rows(rows)


def modality_rows(found: Any, channels: Sequence[str]) -> list[tuple[str, list[Cell]]]:
    """Return what each image of a case contributed, the strongest first.

    Args:
        found: One record an image: ``name``, ``drop``, ``drop_share``, ``gradients_share``.
        channels: Names of the images, for records that are numbered.
    """
    if not isinstance(found, list) or not found:
        return []
    rows = []
    for one in sorted(found, key=lambda one: -abs(float(one["drop"]))):
        name = str(one["name"])
        if name.isdigit() and int(name) < len(channels):
            name = channels[int(name)]
        drop, share = float(one["drop"]), float(one["drop_share"])
        gradients = float(one.get("gradients_share") or 0.0)
        cells = [
            Cell(name),
            Cell(f"{100 * share:.0f} %", share, is_number=True, tooltip="Of all falls together"),
            Cell(f"{drop:+.3g}", drop, is_number=True, tooltip="Fall of the score without it"),
            Cell(f"{100 * gradients:.0f} %", gradients, is_number=True),
        ]
        rows.append((name, cells))
    return rows
