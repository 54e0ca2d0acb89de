"""Train: one button, live curves, and the choice to stop and to go on."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
)

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.colours import class_colours, swatch
from napari_attnseg.gui.panel import PANELS, Panel, allow, button
from napari_attnseg.gui.viewer.calm import keep_quiet
from napari_attnseg.gui.widgets.curves import CurvePlots
from napari_attnseg.gui.widgets.fold import fold
from napari_attnseg.gui.widgets.preview import Preview
from napari_attnseg.gui.widgets.settings_form import SettingsForm
from napari_attnseg.gui.words import count, time_left

TIMES = (1, 2, 5, 10, 20, 30, 60, 120, 480)
DEFAULT_MINUTES = 10
HIDDEN = ("minutes", "patch_size", "augment", "threads")


@PANELS.register("train")
class TrainPanel(Panel):
    """Let the network learn from the labelled cases."""

    title = "Train"
    order = 2

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.counts = QLabel()
        self.counts.setWordWrap(True)
        self.network = QLabel()
        self.network.setWordWrap(True)
        self.minutes = QComboBox()
        for minutes in TIMES:
            text = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"
            self.minutes.addItem(text, float(minutes))
        self.minutes.setCurrentIndex(TIMES.index(DEFAULT_MINUTES))
        self.minutes.setToolTip("How long to train; more cases and larger ones want more time")
        self.scratch, self.from_run = QRadioButton("scratch"), QRadioButton("run")
        self._starts = QButtonGroup(self)
        self.start = button("Start", self._pressed)
        self.resume = button("Resume", self._resume)
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.settings = SettingsForm(HIDDEN)
        self.curves = CurvePlots()
        self.scores = QLabel()
        self.scores.setWordWrap(True)
        self.preview = Preview()
        for widget in (self.curves, self.scores, self.state, self.preview):
            keep_quiet(widget)
        self._lay_out()
        self._connect()
        self._fill_losses()
        self._refresh()

    def why_not(self) -> str:
        """Return why nothing can be trained yet."""
        return "" if self.session.cases.project is not None else "Open cases first."

    def main_button(self) -> QPushButton:
        """Return Start, which is also Stop."""
        return self.start

    def _lay_out(self) -> None:
        self.column.addWidget(self.counts)
        self.column.addWidget(self.network)
        row = QHBoxLayout()
        row.addWidget(QLabel("Time"))
        row.addWidget(self.minutes, 1)
        self.column.addLayout(row)
        row = QHBoxLayout()
        row.addWidget(QLabel("Start from"))
        for one in (self.scratch, self.from_run):
            self._starts.addButton(one)
            row.addWidget(one)
        row.addStretch(1)
        self.scratch.setChecked(True)
        self.column.addLayout(row)
        row = QHBoxLayout()
        self.start.setMinimumHeight(30)
        row.addWidget(self.start, 2)
        row.addWidget(self.resume, 1)
        self.column.addLayout(row)
        self.column.addWidget(self.state)
        folded = fold("All settings")
        folded.addWidget(self.settings)
        self.column.addWidget(folded)
        for widget in (self.curves, self.scores, self.preview):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    def _connect(self) -> None:
        training = self.session.training
        training.changed.connect(self._refresh)
        training.stepped.connect(self._draw)
        training.previewed.connect(self._show_preview)
        self.session.on_change(self._refresh)
        self.session.model.config_changed.connect(lambda _: self._refresh())
        self.session.model.catalogue_changed.connect(self._refresh)
        self.session.model.catalogue_changed.connect(self._fill_losses)

    def _fill_losses(self) -> None:
        self.settings.set_choices("loss", self.session.model.entries("losses"))

    def _pressed(self) -> None:
        training = self.session.training
        if training.is_running:
            training.stop()
            return
        problem = self.settings.problem()
        if problem:
            self.session.say(problem)
            return
        run = self.session.model.run
        start_from = str(run.path) if run is not None and self.from_run.isChecked() else None
        training.start(self._train_settings(), from_run=start_from)
        self.preview.clear()
        self._draw()

    def _train_settings(self) -> dict[str, Any]:
        settings = self.settings.changes()
        if settings.get("epochs") is None:
            settings["minutes"] = self.minutes.currentData()
        return settings

    def _resume(self) -> None:
        run = self._resumable()
        if run is not None:
            self.session.training.resume(run)

    def _resumable(self) -> str | None:
        """Return the run whose training was cut short most recently."""
        training, model = self.session.training, self.session.model
        ids = {run.id: run for run in model.runs if run.can_resume and run.state != "done"}
        if training.run_id in ids:
            return training.run_id
        newest = model.runs[-1] if model.runs else None
        return newest.id if newest is not None and newest.id in ids else None

    def _refresh(self) -> None:
        training, model = self.session.training, self.session.model
        learned, checked = training.counts()
        self.counts.setText(
            f"<b>{count(learned, 'case')}</b> to learn from, <b>{checked}</b> to check on (fixed)"
        )
        self.counts.setToolTip("A case gets its set with its first label and keeps it")
        run = model.run
        self.from_run.setText(f"run {run.short}" if run is not None else "a run")
        allow(
            self.from_run,
            "" if run is not None else "Nothing has been trained yet.",
            "Continue with the weights of this run",
        )
        if run is None:
            self.scratch.setChecked(True)
        self.network.setText(self._network_words())
        self._show_buttons()
        self.minutes.setEnabled(not training.is_running)
        self._draw()

    def _network_words(self) -> str:
        model = self.session.model
        if self.from_run.isChecked() and model.run is not None:
            return f"Network: {model.title(model.run.model)}, as in run {model.run.short}"
        return f"Network: {model.title(model.config)} (chosen in Model)"

    def _show_buttons(self) -> None:
        training, job = self.session.training, self.session.training.job
        running = training.is_running and job is not None
        resumable = None if running else self._resumable()
        self.resume.setVisible(resumable is not None)
        if resumable is not None:
            self.resume.setText(f"Resume run {resumable.lstrip('0')}")
            self.resume.setToolTip("Continue as if nothing had happened")
        if running and job is not None:
            is_stopping = job.state == "STOPPING"
            self.start.setText("Stopping after this step…" if is_stopping else "Stop")
            allow(self.start, "It is stopping." if is_stopping else "", "Stop and keep")
        else:
            self.start.setText("Start")
            allow(self.start, training.why_not(), "Train now (Ctrl+Enter)")
        self.state.setText(self._state_words())
        self.state.setVisible(bool(self.state.text()))

    def _state_words(self) -> str:
        training, job = self.session.training, self.session.training.job
        if job is None:
            return ""
        epoch = f"epoch {training.curves.epoch}"
        if job.state == "STOPPED":
            return f"Stopped, kept {epoch}."
        if job.state == "DONE":
            return f"Done at {epoch}."
        if job.state in ("FAILED", "LOST"):
            return job.problem.text if job.problem is not None else "The training ended."
        left = time_left(job.eta_seconds)
        return " · ".join(part for part in (job.text or "Starting…", left) if part)

    def _draw(self) -> None:
        curves = self.session.training.curves
        classes = self.session.cases.classes
        colours = class_colours(classes or curves.dice)
        self.curves.show_losses(curves.steps, curves.losses)
        self.curves.show_dice(curves.at, curves.dice, colours)
        latest = [
            f"{swatch(colours.get(value, '#CCCCCC'))}&nbsp;{classes.get(value, value)}&nbsp;"
            f"<b>{line[-1]:.2f}</b>"
            for value, line in curves.dice.items()
            if line
        ]
        self.scores.setText("Dice&nbsp; " + "&nbsp; ".join(latest) if latest else "")
        if self.session.training.is_running:
            self.state.setText(self._state_words())

    def _show_preview(self, arrays: dict[str, Any]) -> None:
        # The preview counts classes as the network does: 1 for the first value, and so on.
        by_value = class_colours(self.session.cases.classes)
        by_index = {index + 1: by_value[value] for index, value in enumerate(sorted(by_value))}
        self.preview.show_slice(arrays, by_index)
