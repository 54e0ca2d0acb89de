"""Training from the window: what runs, its curves, stopping, resuming, learning from a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from psygnal import Signal

from napari_attnseg.session.background import Background
from napari_attnseg.session.cases import CaseDesk
from napari_attnseg.session.curves import Curves, read_curves
from napari_attnseg.session.model import ModelDesk
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.work import Event, Work, WorkList


@dataclass(frozen=True)
class Comparison:
    """Dice of the fixed validation cases before and after learning from cases.

    Args:
        learned: Cases that were learned from.
        before_run: Id of the run that it began with.
        after_run: Id of the run that it became.
        rows: Case name, Dice before and Dice after; a mean over classes, None if unknown.
    """

    learned: tuple[str, ...]
    before_run: str
    after_run: str
    rows: tuple[tuple[str, float | None, float | None], ...]

    @property
    def means(self) -> tuple[float | None, float | None]:
        """Mean over the cases, before and after."""
        return _mean([row[1] for row in self.rows]), _mean([row[2] for row in self.rows])


class TrainingDesk:
    """One training at a time, in a child process."""

    changed = Signal()
    stepped = Signal()
    previewed = Signal(object)
    compared = Signal(object)

    def __init__(
        self, background: Background, work: WorkList, cases: CaseDesk, model: ModelDesk, say: Any
    ) -> None:
        self._background, self._work, self._cases = background, work, cases
        self._model, self._say = model, say
        self.job: Work | None = None
        self.curves = Curves()
        self.comparison: Comparison | None = None
        self.learning_from: tuple[str, ...] = ()
        self.run_id: str | None = None
        self._before: str | None = None
        model.run_changed.connect(self._show_past)

    @property
    def is_running(self) -> bool:
        """Whether a training has not ended yet."""
        return self.job is not None and not self.job.has_ended

    def counts(self) -> tuple[int, int]:
        """Return how many cases are learned from and how many are checked on."""
        sets = [row.set for row in self._cases.rows if row.has_label]
        return sum(one == "train" for one in sets), sum(one == "val" for one in sets)

    def why_not(self) -> str:
        """Return why training cannot start now, or an empty string."""
        if self._cases.project is None:
            return "Open cases first."
        if self.is_running:
            return "A training is running."
        if self.counts()[0] == 0:
            return "Label at least one case first: open it, paint, and save the correction."
        return ""

    def start(self, train: dict[str, Any], *, from_run: str | None = None) -> None:
        """Train the wanted network, or continue from a run's weights."""
        model = self._model.wanted().to_dict()
        self._begin({"model": model, "train": train, "from": from_run}, "Training", ())

    def resume(self, run_id: str) -> None:
        """Continue a stopped training as if nothing had happened."""
        self._begin({"resume": run_id}, f"Training run {run_id.lstrip('0')}", (), keep=True)

    def learn_from(self, names: Sequence[str], minutes: float | None = None) -> None:
        """Continue from the current run on old and new cases together.

        Args:
            names: Cases with finished labels.
            minutes: Time to learn; the engine's own choice by default.
        """
        project, run = self._cases.project, self._model.run
        refusal = self.why_not_learn(names)
        if refusal or run is None or project is None:
            self._say(refusal)
            return
        settings = {
            "model": run.model.to_dict(),
            "train": {} if minutes is None else {"minutes": minutes},
            "from": str(run.path),
            "learn_from": list(names),
        }

        def check() -> None:
            for name in names:
                project.require_learnable(name)

        def begin(_: Any) -> None:
            self._before = run.id
            self._begin(settings, f"Learning from {', '.join(names)}", tuple(names))

        # What was asked to be saved before this is saved by then: there is one line for both.
        self._background.run("looking at the cases to learn from", check, begin)

    def why_not_learn(self, names: Sequence[str]) -> str:
        """Return why these cases cannot be learned from, or an empty string.

        A case whose labels are not finished yet is no obstacle: saving the correction finishes it.
        """
        if self._cases.project is None or self._model.run is None:
            return "Choose or train a model first."
        if self.is_running:
            return "A training is running."
        for name in names:
            row = self._cases.row(name)
            if row is not None and row.set in ("val", "test"):
                return (
                    f"{name} is one of the fixed cases that every run is checked on; scores on a "
                    "case that was learned from would mean nothing. Learn from another case."
                )
        return ""

    def stop(self) -> None:
        """Ask the training to keep what it reached and end."""
        if self.job is not None:
            self._work.stop(self.job)
            self.changed.emit()

    def keep(self) -> None:
        """Work with the weights that learned from the case."""
        if self.comparison is not None:
            self._model.use_run(self.comparison.after_run)
            self._say(f"Kept run {self.comparison.after_run.lstrip('0')}.")
            self._settle()

    def roll_back(self) -> None:
        """Work with the weights from before; the others stay on disk."""
        if self.comparison is not None:
            self._model.use_run(self.comparison.before_run)
            self._say(f"Rolled back to run {self.comparison.before_run.lstrip('0')}.")
            self._settle()

    def _show_past(self, run: RunInfo | None) -> None:
        """Show the curves of a run that was trained earlier."""
        if run is None or self.is_running or self.run_id == run.id:
            return
        self.run_id = run.id

        def show(curves: Curves) -> None:
            if not self.is_running and self.run_id == run.id:
                self.job, self.curves = None, curves
                self.changed.emit()

        self._background.run("reading the curves", lambda: read_curves(run.path), show)

    def _settle(self) -> None:
        self.comparison = None
        self.compared.emit(None)

    def _begin(
        self,
        settings: dict[str, Any],
        title: str,
        learning_from: tuple[str, ...],
        *,
        keep: bool = False,
    ) -> None:
        if self._cases.project is None or self.is_running:
            return
        if not keep:
            self.curves = Curves()
        self.run_id = settings.get("resume")
        self.learning_from, self.comparison = learning_from, None
        self.compared.emit(None)
        settings = {"project": str(self._cases.project.path), **settings}
        self.job = self._work.start("train", settings, title, on_event=self._take)
        self.changed.emit()

    def _take(self, work: Work, event: Event) -> None:
        kind = event["event"]
        if kind in ("step", "validation"):
            add = self.curves.add_step if kind == "step" else self.curves.add_validation
            add(event)
            self.stepped.emit()
        elif kind == "preview":
            self._load_preview(event)
        elif kind == "warning":
            self._say(str(event["text"]))
        elif kind in ("checkpoint", "result"):
            self._take_result(event)
        elif kind == "state":
            if work.has_ended:
                self._ended(work)
            self.changed.emit()

    def _load_preview(self, event: Event) -> None:
        def read() -> dict[str, Any]:
            with np.load(event["path"], allow_pickle=False) as arrays:
                return {"case": event.get("case", ""), **{name: arrays[name] for name in arrays}}

        # A preview that the next one has already replaced is no problem worth a sentence.
        self._background.run("reading the preview", read, self.previewed.emit, lambda _: None)

    def _take_result(self, event: Event) -> None:
        if event["event"] == "checkpoint":
            self.run_id = Path(str(event.get("path", ""))).parent.name or self.run_id
            return
        self.run_id = Path(str(event.get("run") or self.run_id or "")).name or None
        before, after = event.get("before"), event.get("after")
        is_new = self.run_id != self._before
        if self.learning_from and self._before and self.run_id and is_new:
            rows = compare(before or {}, after or {})
            self.comparison = Comparison(self.learning_from, self._before, self.run_id, rows)

    def _ended(self, work: Work) -> None:
        self._cases.refresh()
        if self.comparison is not None:
            self._model.refresh_runs(self.comparison.before_run)
            self.compared.emit(self.comparison)
        elif self.learning_from:
            self._model.refresh_runs(self._before)
        else:
            self._model.refresh_runs(self.run_id)


def compare(
    before: dict[str, Any], after: dict[str, Any]
) -> tuple[tuple[str, float | None, float | None], ...]:
    """Return case, Dice before and after, of two ``validation`` results, largest loss first."""
    first, second = before.get("cases", {}), after.get("cases", {})
    rows = [
        (name, _mean(list(first.get(name, {}).values())), _mean(list(second[name].values())))
        for name in second
    ]
    return tuple(sorted(rows, key=lambda row: (row[2] or 0.0) - (row[1] or 0.0)))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
