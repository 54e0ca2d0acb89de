"""Cases: the worklist, and the open case."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.colours import class_colours, swatch
from napari_attnseg.gui.correction import Correction
from napari_attnseg.gui.npe2_reader import claimed_suffixes
from napari_attnseg.gui.panel import PANELS, Panel, allow, button
from napari_attnseg.gui.questions import ask_series
from napari_attnseg.gui.widgets.table import Cell, Table
from napari_attnseg.gui.words import dice, millilitres, sizes
from napari_attnseg.session import CaseRow, OpenCase
from napari_attnseg.session.cases import STATUSES, SYMBOLS
from napari_attnseg.session.series import SeriesQuestion

HEADINGS = ("", "name", "status", "set", "Dice", "volume", "unsure")
SETS = {"train": "learned from", "val": "checked on", "test": "kept for a last test"}


def file_filter() -> str:
    """Return the file dialog's filter: what can be opened by its name."""
    patterns = " ".join(f"*{suffix}" for suffix in claimed_suffixes())
    return f"Volumes ({patterns});;All files (*)"


@PANELS.register("cases")
class CasesPanel(Panel):
    """Open volumes and see which cases need work."""

    title = "Cases"
    order = 0

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.open_folder = button(
            "Open folder…",
            self.ask_folder,
            "A project, or a folder of volumes: Decathlon, nnU-Net, or images beside labels",
        )
        self.add_files = button("Add files…", self.ask_files, "Adds volumes, one case each")
        self.sample = button(
            "Try the sample", self.open_sample, "Opens cases made by this program"
        )
        self.search = QLineEdit()
        self.search.setPlaceholderText("filter")
        self.search.setClearButtonEnabled(True)
        self.status = _menu("status", STATUSES)
        self.set_menu = _menu("set", ("train", "val", "test"))
        self.table = Table(HEADINGS, stretch=1)
        self.table.setMinimumHeight(180)
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self.facts.setTextFormat(Qt.TextFormat.RichText)
        self.open_button = button("Open", self._open, "Double-click does the same")
        self.approve = button("Approve", lambda: self._set_status("approved"))
        self.flag = button("Flag", lambda: self._set_status("draft"))
        self.correction = Correction(bench)
        self._lay_out()
        self._connect()
        self._refresh()

    def main_button(self) -> QPushButton:
        """Return the button that opens the selected case."""
        return self.open_button

    def ask_folder(self) -> None:
        """Let the person choose a folder."""
        found = QFileDialog.getExistingDirectory(self, "Open a project or a folder of volumes")
        if found:
            self.session.cases.open_folder(Path(found))

    def ask_files(self) -> None:
        """Let the person choose volumes."""
        found, _ = QFileDialog.getOpenFileNames(self, "Add volumes", "", file_filter())
        if found:
            self.session.cases.add_files([Path(name) for name in found])

    def _ask_series(self, question: SeriesQuestion) -> None:
        name = question.folder.name
        numbers = ask_series(name, question.titles, several=True, parent=self)
        if numbers:
            self.session.cases.open_series(question.folder, numbers)
        else:
            self.session.say("No series was opened.")

    def open_sample(self) -> None:
        """Open the built-in cases."""
        self.session.cases.open_sample()

    def _lay_out(self) -> None:
        for widgets in (
            (self.open_folder, self.add_files, self.sample),
            (self.search, self.status, self.set_menu),
        ):
            self.column.addLayout(_row(*widgets))
        self.column.addWidget(self.table, 1)
        self.column.addWidget(self.facts)
        self.column.addLayout(_row(self.open_button, self.approve, self.flag))
        self.column.addWidget(self.correction)

    def _connect(self) -> None:
        cases = self.session.cases
        cases.rows_changed.connect(self._show_rows)
        cases.case_opened.connect(self._case_opened)
        cases.asked.connect(self._ask_series)
        self.session.on_change(self._refresh)
        self.table.opened_key.connect(self.bench.open_case)
        self.table.chosen_key.connect(lambda _: self._refresh())
        self.search.textChanged.connect(self._filter)
        self.status.currentIndexChanged.connect(self._filter)
        self.set_menu.currentIndexChanged.connect(self._filter)

    def _open(self) -> None:
        self.bench.open_case(self.table.chosen())

    def _set_status(self, status: str) -> None:
        name = self.table.chosen()
        opened = self.session.cases.case
        if name is None:
            return
        if opened is not None and opened.name == name and self.bench.layers.is_changed:
            self.bench.save_labels(status)
        else:
            self.session.cases.set_status(name, status)

    def _case_opened(self, case: OpenCase) -> None:
        self.table.choose(case.name)
        self._refresh()

    def _show_rows(self) -> None:
        self.table.set_rows([(row.name, _cells(row)) for row in self.session.cases.rows])
        self._filter()
        if self.table.chosen() is None and self.table.keys:
            self.table.choose(self.table.keys[0])
        self._refresh()

    def _filter(self) -> None:
        words = self.search.text().lower()
        status, in_set = self.status.currentData(), self.set_menu.currentData()

        def accepts(name: str) -> bool:
            row = self.session.cases.row(name)
            if row is None or words not in name.lower():
                return False
            return status in (None, row.status) and in_set in (None, row.set)

        self.table.show_only(accepts)

    def _refresh(self) -> None:
        name = self.table.chosen()
        row = self.session.cases.row(name) if name else None
        none = "" if row is not None else "Select a case in the list first."
        allow(self.open_button, none, "Double-click does the same")
        unlabelled = "This case has no labels yet." if row and row.status == "unlabelled" else ""
        allow(self.approve, none or unlabelled, "Say that the labels of this case are right")
        allow(self.flag, none or unlabelled, "Send the labels of this case back for another look")
        self.facts.setText(self._describe(row))

    def _describe(self, row: CaseRow | None) -> str:
        classes, case = self.session.cases.classes, self.session.cases.case
        if self.session.cases.project is None:
            return "No cases yet."
        parts = []
        if case is not None:
            image, name = case.image, case.images[0][0]
            parts.append(
                f"<b>{case.name}</b> · {name} · {sizes(image.shape_dhw[::-1])} · "
                f"{sizes(image.spacing_dhw[::-1])} mm · {image.orientation}"
            )
        colours = class_colours(classes)
        names = [f"{text}&nbsp;{swatch(colours[value])}" for value, text in classes.items()]
        shown = ", ".join(names[:8]) + (f", … ({len(names)})" if len(names) > 8 else "")
        parts.append(f"Classes: {shown}" if names else "No classes yet: paint and save to begin.")
        if row is not None and row.warnings:
            parts.append("⚠ " + " ".join(row.warnings[:2]))
        return "<br>".join(parts)


def _cells(row: CaseRow) -> list[Cell]:
    unsure = "–" if row.unsure is None else f"{row.unsure:.2f}"
    status = STATUSES.index(row.status) if row.status in STATUSES else 9
    return [
        Cell(SYMBOLS.get(row.status, "○"), status, tooltip=row.status),
        Cell(row.name, tooltip="\n".join(row.warnings) or "Double-click opens this case"),
        Cell(row.status, status),
        Cell(row.set or "–", tooltip=SETS.get(row.set or "", "gets its set with its first label")),
        Cell(dice(row.dice), _number(row.dice), is_number=True),
        Cell(millilitres(row.volume_ml), _number(row.volume_ml), is_number=True),
        Cell(unsure, _number(row.unsure), is_number=True),
    ]


def _number(value: float | None) -> float:
    return -1.0 if value is None else value


def _menu(name: str, values: tuple[str, ...]) -> QComboBox:
    menu = QComboBox()
    menu.addItem(f"{name}: all", None)
    for value in values:
        menu.addItem(value, value)
    menu.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
    return menu


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(4)
    for widget in widgets:
        row.addWidget(widget)
    return row
