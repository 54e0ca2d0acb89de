"""The question: which class, where, by which method, at which layer."""

from __future__ import annotations

import numpy as np
from qtpy.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_attnseg.axes import Size
from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.colours import class_colours
from napari_attnseg.gui.panel import allow, button
from napari_attnseg.gui.viewer.picking import Picker
from napari_attnseg.gui.widgets.choice import Choice
from napari_attnseg.gui.widgets.fold import fold
from napari_attnseg.gui.widgets.options_form import OptionsForm
from napari_attnseg.gui.widgets.swatches import colour_icon
from napari_attnseg.session.targets import CLICKED, ERRORS, KINDS, TargetChoice

DEFAULT = "default"
NOTES = {
    "component": "Click inside the part you ask about.",
    "voxel": "Click the voxel you ask about.",
    "region": "Paint the region over the image; it lies on the image's own grid.",
    "false-positive": "Voxels that were predicted and are not in the label.",
    "false-negative": "Voxels that are in the label and were not predicted.",
}


class Asking(QWidget):
    """The lines Why, In, How and Where, and what belongs to the choices made there.

    Args:
        bench: The session and the viewer it shows.
        picker: Lets a person click a voxel.
    """

    def __init__(self, bench: Bench, picker: Picker) -> None:
        super().__init__()
        self.bench, self.session, self.picker = bench, bench.session, picker
        self.classes, self.versus = QComboBox(), QComboBox()
        self.kind = Choice(self._kind_chosen)
        self.method = Choice(lambda name: self.refresh())
        self.layer = Choice(lambda name: self.refresh())
        self.pick = button("Click…", self._pick)
        self.draw = button("Draw", self._draw, "A layer to paint on, on the image's own grid")
        self.clear = button("Clear", self._clear_region, "Takes the drawn region away")
        self.note, self.remark = QLabel(), QLabel()
        self.options = OptionsForm()
        self.options_fold = fold("Options of the method")
        self.voxel: Size | None = None
        self._has_layer = True
        for label in (self.note, self.remark):
            label.setWordWrap(True)
            label.setStyleSheet("color: #9AA3AF; font-size: 11px;")
        self._lay_out()
        self.kind.set_entries([(name, text, text) for name, text in KINDS.items()])
        self.classes.currentIndexChanged.connect(lambda _: self.refresh())
        self.session.cases.case_opened.connect(lambda _: self._new_case())

    def target(self) -> TargetChoice:
        """Return what is asked about."""
        kind, case = str(self.kind.currentData()), self.session.cases.case
        at = None
        if kind in CLICKED and self.voxel is not None and case is not None:
            x, y, z = (float(mm) for mm in case.image.grid.world(np.array(self.voxel)))
            at = (x, y, z)
        other = self.versus.currentData() if kind == "contrast" else None
        return TargetChoice(
            value=int(self.classes.currentData() or 0),
            kind=kind,
            versus=None if other is None else int(other),
            at_ras=at,
            region=self.bench.maps.extras.region() if kind == "region" else None,
        )

    def chosen_layer(self) -> str | None:
        """Return the layer to explain, None for the method's own or where there is none."""
        name = self.layer.currentData()
        return None if name in (None, DEFAULT) or not self._has_layer else str(name)

    def why_not(self) -> str:
        """Return what is missing in the question, or an empty string."""
        if not self.method.count():
            return "The methods are being read."
        case = self.session.cases.case
        # Whether a drawn region is empty shows when it is asked for.
        target = self.target()
        if target.kind == "region" and self.bench.maps.extras.has_region():
            return ""
        return target.why_not(case, case is not None and case.label is not None)

    def refresh(self) -> None:
        """Show what the run and the case allow."""
        run = self.session.model.run
        self._fill_classes(run.classes if run is not None else {})
        explanations = self.session.explanations
        self.method.set_entries(explanations.methods())
        facts = explanations.method_facts(str(self.method.currentData()))
        self.method.setToolTip(str(facts.get("summary") or ""))
        self.options.show_options(facts.get("options"))
        self.options_fold.setVisible(bool(self.options.fields))
        entries = [(DEFAULT, "the default layer", "The method's own choice of a layer")]
        entries += [(name, title, name) for name, title in explanations.layers()]
        self.layer.set_entries(entries)
        self._has_layer = facts.get("space", "layer") == "layer"
        allow(
            self.layer,
            "" if self._has_layer else "This method looks at the image itself, not at a layer.",
            "Where in the network; the number is the size of a cell of the map",
        )
        self.remark.setText(explanations.layer_remark(self.chosen_layer()))
        self.remark.setVisible(bool(self.remark.text()))
        self._refresh_kind()

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setVerticalSpacing(4)
        for row, (name, widget) in enumerate(
            (("Why", self.classes), ("In", self.kind), ("How", self.method), ("Where", self.layer))
        ):
            grid.addWidget(QLabel(name), row, 0)
            grid.addWidget(widget, row, 1)
        grid.setColumnStretch(1, 1)
        buttons = QHBoxLayout()
        for one in (self.pick, self.draw, self.clear, self.versus):
            buttons.addWidget(one)
        buttons.addWidget(self.note, 1)
        grid.addLayout(buttons, 4, 0, 1, 2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(grid)
        column.addWidget(self.remark)
        self.options_fold.addWidget(self.options)
        column.addWidget(self.options_fold)

    def _fill_classes(self, classes: dict[int, str]) -> None:
        known = [self.classes.itemData(n) for n in range(self.classes.count())]
        if known == list(classes):
            return
        colours = class_colours(classes)
        for menu in (self.classes, self.versus):
            menu.blockSignals(True)
            menu.clear()
            for value, name in classes.items():
                menu.addItem(colour_icon(colours[value]), name, value)
            menu.blockSignals(False)
        self.versus.addItem("background", 0)
        self.versus.setCurrentIndex(self.versus.count() - 1)

    def _refresh_kind(self) -> None:
        kind = str(self.kind.currentData())
        case = self.session.cases.case
        no_label = "" if case is not None and case.label is not None else "This case has no label."
        self.kind.set_entries(
            [(name, text, text) for name, text in KINDS.items()],
            dict.fromkeys(ERRORS, no_label),
        )
        closed = "" if case is not None else "Open a case first."
        allow(self.pick, closed, "Then click in the image; Esc ends")
        allow(self.draw, closed, "A layer to paint on, on the image's own grid")
        self.pick.setVisible(kind in CLICKED)
        self.draw.setVisible(kind == "region")
        self.clear.setVisible(kind == "region" and self.bench.maps.extras.has_region())
        self.versus.setVisible(kind == "contrast")
        text = NOTES.get(kind, "")
        if kind in CLICKED and self.voxel is not None:
            text = f"At slice {self.voxel[0]}, row {self.voxel[1]}, column {self.voxel[2]}."
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def _kind_chosen(self, name: str) -> None:
        if name not in CLICKED:
            self.picker.stop()
        self.refresh()
        self.session.explanations.changed.emit()

    def _pick(self) -> None:
        case = self.session.cases.case
        if case is not None:
            words = "the part" if self.kind.currentData() == "component" else "the voxel"
            self.picker.start(case.image.grid, f"Click {words} you ask about", self._picked)

    def _picked(self, voxel: Size) -> None:
        self.voxel = voxel
        self.bench.maps.extras.mark(voxel)
        self.picker.stop()
        self.refresh()
        self.session.explanations.changed.emit()

    def _draw(self) -> None:
        self.bench.maps.extras.draw_region()
        self.refresh()
        self.session.explanations.changed.emit()

    def _clear_region(self) -> None:
        self.bench.maps.extras.remove_region()
        self.refresh()
        self.session.explanations.changed.emit()

    def _new_case(self) -> None:
        self.voxel = None
        self.picker.stop()
        self.refresh()
