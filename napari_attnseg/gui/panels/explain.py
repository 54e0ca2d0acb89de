"""Explain: what the network looked at, as maps in the patient's space and as numbers."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.colours import class_colours
from napari_attnseg.gui.panel import PANELS, Panel, allow, button
from napari_attnseg.gui.viewer.maps import map_colormap, map_limits, value_range
from napari_attnseg.gui.widgets.choice import Choice
from napari_attnseg.gui.widgets.colour_bar import ColourBar
from napari_attnseg.gui.widgets.strip import Strip
from napari_attnseg.gui.widgets.swatches import colour_icon
from napari_attnseg.session.explanations import AttentionItem, AttentionView, MapView

DEFAULT = "default"


@PANELS.register("explain")
class ExplainPanel(Panel):
    """See why: class activation maps and attention, over the volume."""

    title = "Explain"
    order = 4

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.classes = QComboBox()
        self.method = Choice(lambda name: self._about())
        self.layer = Choice(lambda name: None)
        self.show_button = button("Show", self._show)
        self.bar = ColourBar()
        self.caption, self.reason = QLabel(), QLabel()
        self.attention_button = button("Look at attention", self._look)
        self.attention_note = QLabel(
            "Attention weights are gates inside the network, not proof of importance."
        )
        self.attention_note.setStyleSheet("color: #9AA3AF; font-size: 11px;")
        self.items = QVBoxLayout()
        self.rows: list[AttentionRow] = []
        for label in (self.caption, self.reason, self.attention_note):
            label.setWordWrap(True)
        self._lay_out()
        self._connect()
        self._fill_methods()
        self._clear_map()

    def why_not(self) -> str:
        """Return why nothing can be explained yet."""
        return "" if self.session.model.run is not None else "Choose or train a model first."

    def main_button(self) -> QPushButton:
        """Return the button that shows a map."""
        return self.show_button

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.addWidget(QLabel("Why"), 0, 0)
        grid.addWidget(self.classes, 0, 1)
        grid.addWidget(QLabel("How"), 1, 0)
        grid.addWidget(self.method, 1, 1)
        grid.addWidget(QLabel("Where"), 2, 0)
        grid.addWidget(self.layer, 2, 1)
        grid.addWidget(self.show_button, 0, 2, 3, 1)
        grid.setColumnStretch(1, 1)
        self.column.addLayout(grid)
        for widget in (self.reason, self.bar, self.caption):
            self.column.addWidget(widget)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        self.column.addWidget(line)
        row = QHBoxLayout()
        heading = QLabel("<b>Attention inside the network</b>")
        heading.setWordWrap(True)
        row.addWidget(heading, 1)
        row.addWidget(self.attention_button)
        self.column.addLayout(row)
        self.column.addLayout(self.items)
        self.column.addWidget(self.attention_note)
        self.column.addStretch(1)

    def _connect(self) -> None:
        explanations = self.session.explanations
        explanations.ready.connect(self._show_map)
        explanations.attention_ready.connect(self._show_attention)
        self.session.cases.case_opened.connect(lambda _: self._case_changed())
        self.session.model.catalogue_changed.connect(self._fill_methods)
        self.session.on_change(self._refresh)

    def _show(self) -> None:
        layer = self.layer.currentData()
        self.session.explanations.explain(
            int(self.classes.currentData()),
            str(self.method.currentData()),
            None if layer == DEFAULT else str(layer),
        )

    def _look(self) -> None:
        self.session.explanations.look_at_attention()

    def _about(self) -> None:
        about = {name: summary for name, _, summary in self.session.explanations.methods()}
        self.method.setToolTip(about.get(str(self.method.currentData()), ""))

    def _fill_methods(self) -> None:
        self.method.set_entries(self.session.explanations.methods())
        self._about()
        self._refresh()

    def _refresh(self) -> None:
        run = self.session.model.run
        reason = self.session.explanations.why_not()
        unread = "" if self.method.count() else "The methods are being read."
        allow(
            self.show_button,
            reason or unread,
            "Make the map and lay it over the image (Ctrl+Enter)",
        )
        no_attention = ""
        if run is not None and run.model.attention == "none":
            no_attention = "This network has no attention module."
        allow(
            self.attention_button,
            no_attention or reason,
            "What every attention module did for this case",
        )
        classes = run.classes if run is not None else {}
        if [self.classes.itemData(n) for n in range(self.classes.count())] != list(classes):
            self._fill_classes(classes)
        entries = [(DEFAULT, "deepest layer", "What the method uses unless told otherwise")]
        entries += [(name, title, name) for name, title in self.session.explanations.layers()]
        self.layer.set_entries(entries)

    def _fill_classes(self, classes: dict[int, str]) -> None:
        colours = class_colours(classes)
        self.classes.clear()
        for value, name in classes.items():
            self.classes.addItem(colour_icon(colours[value]), name, value)

    def _case_changed(self) -> None:
        self._clear_map()
        self._show_attention(None)

    def _clear_map(self) -> None:
        for widget in (self.bar, self.caption, self.reason):
            widget.hide()

    def _show_map(self, view: MapView) -> None:
        self._clear_map()
        if view.volume is None:
            self.reason.setText(view.reason)
            self.reason.show()
            return
        is_signed = view.is_signed and bool((view.volume.data < 0).any())
        values = value_range(view.volume)
        limits = map_limits(view.volume, is_signed=is_signed)
        self.bar.show_map(map_colormap(is_signed=is_signed), limits, values)
        meaning = " Orange speaks for it, blue against." if is_signed else ""
        self.caption.setText(f"{values[0]:.3g} … {values[1]:.3g} · {view.caption}.{meaning}")
        self.bar.show()
        self.caption.show()

    def _show_attention(self, view: AttentionView | None) -> None:
        for row in self.rows:
            self.items.removeWidget(row)
            row.hide()
            row.deleteLater()
        items = view.items if view is not None else ()
        self.rows = [AttentionRow(item, view, self) for item in items]
        for row in self.rows:
            self.items.addWidget(row)


class AttentionRow(QWidget):
    """One attention map: a button that overlays it, or a strip of its numbers."""

    def __init__(
        self, item: AttentionItem, view: AttentionView | None, panel: ExplainPanel
    ) -> None:
        super().__init__()
        self.item = item
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        name = QLabel(item.name.replace(".", " · "))
        name.setMinimumWidth(110)
        name.setWordWrap(True)
        name.setStyleSheet("font-size: 11px;")
        name.setToolTip(f"{item.name}: {item.kind} attention")
        row.addWidget(name, 2)
        self.overlay: QPushButton | None = None
        if item.path is not None and view is not None:
            self.overlay = button(
                "Overlay",
                lambda: panel.session.explanations.show_attention(item, view),
                "Lay this attention map over the image",
            )
        if item.values:
            row.addWidget(Strip(item.values, strip_limits(item.values)), 1)
            row.addWidget(QLabel(f"{min(item.values):.2f}–{max(item.values):.2f}"))
        if self.overlay is not None:
            row.addWidget(self.overlay)


def strip_limits(values: tuple[float, ...]) -> tuple[float, float]:
    """Return 0 to 1 for gates, else the range of the values, so that a gate is not exaggerated."""
    low, high = min(values), max(values)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
