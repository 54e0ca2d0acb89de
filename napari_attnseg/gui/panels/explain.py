"""Explain: what the network looked at, as maps in the patient's space and as numbers."""

from __future__ import annotations

from qtpy.QtWidgets import QFrame, QPushButton

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.explaining.asking import Asking
from napari_attnseg.gui.explaining.browser import AttentionBrowser
from napari_attnseg.gui.explaining.check import Check
from napari_attnseg.gui.explaining.compare import Compare
from napari_attnseg.gui.explaining.export import Export
from napari_attnseg.gui.explaining.rows import AttentionRow
from napari_attnseg.gui.explaining.shown import ShownMap
from napari_attnseg.gui.panel import PANELS, Panel
from napari_attnseg.gui.viewer.picking import Picker
from napari_attnseg.gui.widgets.fold import fold
from napari_attnseg.gui.widgets.job_button import JobButton
from napari_attnseg.session.maps import MapView


@PANELS.register("explain")
class ExplainPanel(Panel):
    """See why: class activation maps and attention, over the volume."""

    title = "Explain"
    order = 4

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        desk = self.session.explanations
        self.picker = Picker(bench.viewer, self)
        self.asking = Asking(bench, self.picker)
        self.show_job = JobButton(
            "Show",
            self._show,
            lambda: desk.stop("map"),
            lambda: desk.running("map"),
            wide=True,
        )
        self.shown = ShownMap(bench)
        self.check = Check(bench)
        self.browser = AttentionBrowser(bench, self.picker)
        self.compare, self.export = Compare(bench), Export(bench)
        self._lay_out()
        self._connect()
        self._refresh()

    @property
    def show_button(self) -> QPushButton:
        """The button that makes and shows a map."""
        return self.show_job.button

    @property
    def attention_button(self) -> QPushButton:
        """The button that records attention."""
        return self.browser.look.button

    @property
    def rows(self) -> list[AttentionRow]:
        """The rows of the attention browser."""
        return self.browser.rows

    def why_not(self) -> str:
        """Return why nothing can be explained yet."""
        return "" if self.session.model.run is not None else "Choose or train a model first."

    def main_button(self) -> QPushButton:
        """Return the button that shows a map."""
        return self.show_button

    def _lay_out(self) -> None:
        self.column.addWidget(self.asking)
        self.column.addWidget(self.show_job)
        self.column.addWidget(self.shown)
        self.column.addWidget(self.check)
        for title, widget in (
            ("Compare with another map", self.compare),
            ("Save this map", self.export),
        ):
            part = fold(title)
            part.addWidget(widget)
            self.column.addWidget(part)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        self.column.addWidget(line)
        self.column.addWidget(self.browser)
        self.column.addStretch(1)

    def _connect(self) -> None:
        explanations = self.session.explanations
        explanations.ready.connect(self._show_map)
        self.session.cases.case_opening.connect(lambda _: self.bench.maps.side.stop())
        self.session.cases.case_opened.connect(lambda _: self._case_changed())
        self.session.cases.project_opened.connect(self._project_opened)
        self.session.model.catalogue_changed.connect(self._refresh)
        self.session.work.changed.connect(self.show_job.refresh)
        self.session.on_change(self._refresh)

    def _show(self) -> None:
        self.picker.stop()
        target, case = self.asking.target(), self.session.cases.case
        reason = target.why_not(case, case is not None and case.label is not None)
        if reason:
            self.session.say(reason)
            return
        try:
            options = self.asking.options.values()
        except ValueError as error:
            self.session.say(str(error))
            return
        method = str(self.asking.method.currentData())
        self.session.explanations.explain(target, method, self.asking.chosen_layer(), options)

    def _refresh(self) -> None:
        self.asking.refresh()
        reason = self.session.explanations.why_not() or self.asking.why_not()
        self.show_job.allow(reason, "Make the map and lay it over the image (Ctrl+Enter)")
        for part in (self.shown, self.check, self.browser, self.compare, self.export):
            part.refresh()

    def _project_opened(self) -> None:
        if self.session.cases.case is None:
            self._case_changed()

    def _case_changed(self) -> None:
        self.shown.clear()
        self.browser.show_attention(None)

    def _show_map(self, view: MapView) -> None:
        self.shown.show_map(view)
