"""Take a map along: the volume and its record are on disk already; pictures and a film."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.widgets.job_button import JobButton


class Export(QWidget):
    """One button that asks for a folder.

    Args:
        bench: The session and the viewer it shows.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.session = bench.session
        desk = self.desk = bench.session.explanations
        self.volume = QCheckBox("NIfTI and JSON")
        self.png, self.film = QCheckBox("pictures"), QCheckBox("film")
        for box, tip in (
            (self.volume, "The raw map in the patient's space, and the record of how it was made"),
            (self.png, "PNG panels of the slices that matter most"),
            (self.film, "A short film through the slices"),
        ):
            box.setChecked(True)
            box.setToolTip(tip)
            box.toggled.connect(lambda _: self.refresh())
        self.save = JobButton(
            "Save map…",
            self._ask,
            lambda: desk.stop("picture"),
            lambda: desk.running("picture"),
        )
        self.written = QLabel()
        self.written.setWordWrap(True)
        self.written.setStyleSheet("color: #9AA3AF; font-size: 11px;")
        row = QHBoxLayout()
        for widget in (self.volume, self.png, self.film):
            row.addWidget(widget)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(row)
        column.addWidget(self.save)
        column.addWidget(self.written)
        desk.ready.connect(lambda _: self.refresh())
        desk.written.connect(self._wrote)
        self.session.work.changed.connect(self.save.refresh)

    def refresh(self) -> None:
        """Enable what can be saved now."""
        view = self.desk.view
        reason = self.desk.why_not()
        if view is None or view.path is None:
            reason = "Show a map first."
        elif not any(box.isChecked() for box in (self.volume, self.png, self.film)):
            reason = "Tick what should be saved."
        self.save.allow(reason, "Asks for a folder")

    def save_to(self, folder: Path) -> None:
        """Write what is ticked into a folder."""
        self.written.setText("")
        self.desk.export(
            folder,
            volume=self.volume.isChecked(),
            png=self.png.isChecked(),
            film=self.film.isChecked(),
        )

    def _ask(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Save the map in a folder")
        if found:
            self.save_to(Path(found))

    def _wrote(self, names: str) -> None:
        before = self.written.text().removeprefix("Wrote ")
        self.written.setText("Wrote " + ", ".join(one for one in (before, names) if one))
