"""Two maps side by side, with one slider and one camera, and their difference."""

from __future__ import annotations

from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.panel import allow, button
from napari_attnseg.gui.viewer.maps import view_limits, view_signed
from napari_attnseg.gui.viewer.side_by_side import Cell
from napari_attnseg.gui.widgets.choice import Choice
from napari_attnseg.gui.widgets.job_button import JobButton
from napari_attnseg.session import OpenCase
from napari_attnseg.session.map_comparison import WEIGHTS, MapComparison, Other
from napari_attnseg.session.maps import MapView, layer_words
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.volume import Volume

SAME = "same"


class Compare(QWidget):
    """What the shown map is compared with: another network, other weights, another method.

    Args:
        bench: The session and the viewer it shows.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench, self.session = bench, bench.session
        self.desk = bench.session.explanations.comparison
        self.run = Choice(lambda name: self.refresh())
        self.weights = Choice(lambda name: self.refresh())
        self.method = Choice(lambda name: self.refresh())
        self.layer = Choice(lambda name: self.refresh())
        self.start = JobButton("Compare", self._compare, self.desk.stop, self.desk.running)
        self.close_button = button("Back to one map", self._close, "Ends the view side by side")
        self.first, self.words = QLabel(), QLabel()
        for label in (self.first, self.words):
            label.setWordWrap(True)
            label.setStyleSheet("font-size: 11px;")
        self._lay_out()
        self.desk.compared.connect(self._show)
        self.desk.changed.connect(self.refresh)
        self.session.explanations.ready.connect(lambda _: self.refresh())
        self.session.work.changed.connect(self.start.refresh)

    def main(self) -> QPushButton:
        """Return the button that compares."""
        return self.start.button

    def refresh(self) -> None:
        """Fill the menus, and enable what can be compared now."""
        runs = self.desk.runs()
        self.run.set_entries([(run.id, run.title, str(run.path)) for run in runs])
        self.weights.set_entries([(name, text, "") for name, text in WEIGHTS.items()])
        same = [(SAME, "the same method", "")]
        self.method.set_entries([*same, *self.session.explanations.methods()])
        self.layer.set_entries(
            [
                (SAME, "the same layer", "The same name in the other network, if it has it"),
                ("default", "the default layer", ""),
                *((name, title, name) for name, title in self.session.explanations.layers()),
            ]
        )
        view = self.session.explanations.view
        self.first.setText("" if view is None or not view.is_class_map else f"A: {view.title}")
        reason = self.desk.why_not(view)
        if not reason and view is not None and self._is_same(view):
            reason = "Choose another run, other weights, another method or layer for B."
        self.start.allow(reason, "Makes map B with the same target, and the difference A less B")
        allow(
            self.close_button,
            "" if self.bench.maps.side.is_on else "Nothing is shown side by side.",
            "Ends the view side by side",
        )

    def _lay_out(self) -> None:
        grid = QGridLayout()
        for row, (name, widget) in enumerate(
            (("B", self.run), ("", self.weights), ("", self.method), ("", self.layer))
        ):
            grid.addWidget(QLabel(name), row, 0)
            grid.addWidget(widget, row, 1)
        grid.setColumnStretch(1, 1)
        row_of_buttons = QHBoxLayout()
        row_of_buttons.addWidget(self.start)
        row_of_buttons.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(self.first)
        column.addLayout(grid)
        column.addLayout(row_of_buttons)
        column.addWidget(self.words)

    def _other(self, view: MapView) -> Other | None:
        run = self._chosen_run()
        if run is None:
            return None
        method, layer = str(self.method.currentData()), str(self.layer.currentData())
        same_layer = view.info.get("layer")
        return Other(
            run,
            str(self.weights.currentData()),
            str(view.info.get("method")) if method == SAME else method,
            (None if same_layer is None else str(same_layer))
            if layer == SAME
            else (None if layer == "default" else layer),
        )

    def _chosen_run(self) -> RunInfo | None:
        return next((run for run in self.desk.runs() if run.id == self.run.currentData()), None)

    def _is_same(self, view: MapView) -> bool:
        other = self._other(view)
        if other is None:
            return True
        mine = (view.run.id, view.info.get("weights") or "best", view.info.get("method"))
        is_same_layer = other.layer == view.info.get("layer")
        return (other.run.id, other.weights, other.method) == mine and is_same_layer

    def _compare(self) -> None:
        view = self.session.explanations.view
        other = self._other(view) if view is not None else None
        if view is not None and other is not None:
            self.words.setText("")
            self.desk.compare(view, other)

    def _close(self) -> None:
        self.bench.maps.side.stop()
        self.refresh()

    def _show(self, found: MapComparison | None) -> None:
        case = self.session.cases.case
        if found is None or case is None:
            self.words.setText("")
            self.refresh()
            return
        if found.second.volume is None:
            self.words.setText(f"B: {found.second.reason}")
            self.refresh()
            return
        prediction = self.session.predictions.view
        labels = prediction.labels if prediction is not None else None
        self.bench.maps.side.show(case, cells_of(found, case, labels))
        self.words.setText(comparison_words(found))
        self.refresh()


def cells_of(found: MapComparison, case: OpenCase, prediction: Volume | None) -> list[Cell]:
    """Return the pictures of a comparison; two maps of one kind get the same limits.

    Args:
        found: The maps.
        case: The open case.
        prediction: What is outlined beside them where the case has no label.
    """
    first, second = view_limits(found.first), view_limits(found.second)
    if found.first.info.get("method") == found.second.info.get("method"):
        signed = view_signed(found.first) or view_signed(found.second)
        top = max(*first, *second)
        first = second = (-top if signed else 0.0, top)
    names = short_names(found)
    cells = [
        Cell(name, view.volume, limits, limits[0] < 0)
        for name, view, limits in zip(
            names, (found.first, found.second), (first, second), strict=True
        )
        if view.volume is not None
    ]
    if found.difference is not None and found.difference.volume is not None:
        limits = view_limits(found.difference)
        top = max(abs(limits[0]), abs(limits[1]))
        units = " (scaled)" if found.difference.info.get("units") == "scaled" else ""
        cells.append(Cell(f"A less B{units}", found.difference.volume, (-top, top)))
    outlined = ("label", case.label) if case.label is not None else ("prediction", prediction)
    if outlined[1] is not None:
        classes = tuple(found.first.run.classes)
        cells.append(Cell(outlined[0], labels=outlined[1].data[0], classes=classes))
    return cells


def short_names(found: MapComparison) -> tuple[str, str]:
    """Return ``A`` and ``B`` with what they differ in, such as ``A · run 1``."""
    told = []
    for view in (found.first, found.second):
        weights = f"{view.info.get('weights') or 'best'} weights"
        told.append(
            (f"run {view.run.short}", weights, str(view.info.get("method")),
             layer_words(str(view.info.get("layer") or "")))
        )  # fmt: skip
    parts = [
        [mine for mine, other in zip(one, two, strict=True) if mine != other]
        for one, two in ((told[0], told[1]), (told[1], told[0]))
    ]
    return " · ".join(["A", *parts[0]]), " · ".join(["B", *parts[1]])


def comparison_words(found: MapComparison) -> str:
    """Return how alike two maps are, in a sentence."""
    info = found.difference.info if found.difference is not None else {}
    parts = [f"A: {found.first.caption}", f"B: {found.second.caption}"]
    correlation = info.get("correlation")
    if correlation is not None:
        alike = "alike" if correlation > 0.8 else "partly alike" if correlation > 0.4 else "unlike"
        parts.append(f"The maps are {alike}: correlation {correlation:.2f}.")
        parts.append("In the difference green is more in A, violet more in B.")
    if info.get("units") == "scaled":
        parts.append("Each was divided by its own greatest value, since their units differ.")
    return "\n".join(parts)
