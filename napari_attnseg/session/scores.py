"""Dice of each case and class, as a table that leads to the slices that need a look."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from psygnal import Signal

from napari_attnseg.session import files
from napari_attnseg.session.background import Background
from napari_attnseg.session.cases import CaseDesk
from napari_attnseg.session.model import ModelDesk
from napari_attnseg.session.predictions import PredictionDesk
from napari_attnseg.session.run_comparison import RunComparison, compare_runs
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.work import Event, Work, WorkList


@dataclass(frozen=True)
class ScoreRow:
    """One case's scores; None where a class is in neither mask.

    Args:
        case: Name of the case.
        set: Its set in the split.
        dice: By class value.
        iou: By class value.
        volume_ml: Predicted, by class value.
        reference_ml: In the label, by class value.
    """

    case: str
    set: str | None
    dice: dict[int, float | None]
    iou: dict[int, float | None]
    volume_ml: dict[int, float]
    reference_ml: dict[int, float]

    @property
    def mean_dice(self) -> float | None:
        """Mean over the classes that are in either mask."""
        known = [value for value in self.dice.values() if value is not None]
        return sum(known) / len(known) if known else None

    @property
    def volume_difference(self) -> float | None:
        """Relative difference of all classes' volume, or None without a reference."""
        reference = sum(self.reference_ml.values())
        return sum(self.volume_ml.values()) / reference - 1 if reference else None


@dataclass(frozen=True)
class Scores:
    """The table of one run, worst case first."""

    run: RunInfo
    rows: tuple[ScoreRow, ...]
    unmatched: tuple[str, ...] = ()

    def summary(self, value: int) -> tuple[float, float] | None:
        """Return mean and standard deviation of a class's Dice over the cases, or None."""
        found = [row.dice.get(value) for row in self.rows]
        known = [one for one in found if one is not None]
        return (float(np.mean(known)), float(np.std(known))) if known else None


class ScoreDesk:
    """Compares a run's predictions with the labels."""

    changed = Signal()
    ready = Signal(object)
    compared = Signal(object)
    worst_slice = Signal(str, int)

    def __init__(
        self,
        background: Background,
        work: WorkList,
        cases: CaseDesk,
        model: ModelDesk,
        predictions: PredictionDesk,
    ) -> None:
        self._background, self._work, self._cases = background, work, cases
        self._model, self._predictions = model, predictions
        self.scores: Scores | None = None
        self.comparison: RunComparison | None = None
        self._known: dict[str, Scores] = {}
        self._wanted_slice: str | None = None
        cases.project_opened.connect(self._start_anew)
        predictions.ready.connect(self._prediction_shown)

    def why_not(self) -> str:
        """Return why nothing can be evaluated now, or an empty string."""
        if self._model.run is None:
            return "Choose or train a model first."
        if self._work.running("evaluate") or self._work.running("predict"):
            return "Cases are being segmented or compared."
        return ""

    def evaluate(self) -> None:
        """Segment the checked cases where that is missing, then compare them with their labels."""
        project, run = self._cases.project, self._model.run
        if project is None or run is None:
            return
        known = files.predicted(project, run.id)
        missing = [
            row.name
            for row in self._cases.rows
            if row.set in ("val", "test") and row.name not in known
        ]
        if missing:
            self._predictions.segment(missing, {})
            self._work.ended.connect(self._predicted)
        else:
            self._compare()
        self.changed.emit()

    def go_to_worst_slice(self, case: str) -> None:
        """Open a case; when its prediction is shown, `worst_slice` says where to look."""
        self._wanted_slice = case
        opened = self._cases.case
        if opened is not None and opened.name == case:
            self._prediction_shown(self._predictions.view)
        else:
            self._cases.open_case(case)

    def write_csv(self, path: Path) -> None:
        """Write the table, one row a case and class."""
        scores = self.scores
        if scores is not None:
            self._background.run("writing the table", lambda: write_table(scores, path))

    def write_report(self, path: Path) -> None:
        """Write one page about the shown scores: HTML, or Markdown by its name."""
        scores, comparison = self.scores, self.comparison
        if scores is not None:
            self._background.run("writing the report", lambda: report(scores, comparison, path))

    def compare_with(self, run_id: str | None) -> None:
        """Set the shown scores beside those of another run, or of none."""
        scores = self.scores
        other = next((run for run in self._model.runs if run.id == run_id), None)
        if scores is None or other is None:
            self._set_comparison(None)
            return
        known = self._known.get(other.id)
        theirs = dice_of(known) if known is not None else other.cases
        self._background.run(
            "comparing the runs",
            lambda: compare_runs(scores.run, dice_of(scores), other, theirs),
            self._set_comparison,
        )

    def _start_anew(self) -> None:
        self._known = {}
        self._set(None)

    def _set_comparison(self, found: RunComparison | None) -> None:
        if found is None or (self.scores is not None and found.run.id == self.scores.run.id):
            self.comparison = found
            self.compared.emit(found)

    def _predicted(self, work: Work) -> None:
        if work.kind == "predict":
            self._work.ended.disconnect(self._predicted)
            if work.state == "DONE":
                self._compare()

    def _compare(self) -> None:
        project, run = self._cases.project, self._model.run
        if project is None or run is None:
            return
        settings = {"project": str(project.path), "run": str(run.path)}
        self._work.start(
            "evaluate",
            settings,
            f"Comparing run {run.short} with labels",
            on_event=lambda work, event: self._take(run, work, event),
        )

    def _take(self, run: RunInfo, work: Work, event: Event) -> None:
        if event["event"] == "result":
            self._set(scores_of(run, event, {row.name: row.set for row in self._cases.rows}))
        elif event["event"] == "state":
            self.changed.emit()

    def _set(self, scores: Scores | None) -> None:
        self.scores, self.comparison = scores, None
        if scores is not None:
            self._known[scores.run.id] = scores
        self.ready.emit(scores)

    def _prediction_shown(self, view: Any) -> None:
        case = self._cases.case
        if view is None or case is None or self._wanted_slice != case.name:
            return
        self._wanted_slice = None
        if case.label is None:
            return
        reference, predicted = case.label.data[0], view.labels.data[0]
        self._background.run(
            "looking for the worst slice",
            lambda: worst_slice(predicted, reference),
            lambda at: self.worst_slice.emit(case.name, at),
        )


def worst_slice(prediction: np.ndarray, reference: np.ndarray, axis: int = 0) -> int:
    """Return the index along an axis of the slice with most voxels of differing class."""
    others = tuple(one for one in range(prediction.ndim) if one != axis)
    return int(np.argmax((prediction != reference).sum(axis=others)))


def scores_of(run: RunInfo, result: dict[str, Any], sets: dict[str, str | None]) -> Scores:
    """Return an evaluation's JSON as a table, worst case first."""
    rows = [_row(one, sets) for one in result.get("cases", ())]
    rows.sort(key=lambda row: (row.mean_dice is None, row.mean_dice or 0.0, row.case))
    return Scores(run, tuple(rows), tuple(result.get("unmatched", ())))


def dice_of(scores: Scores) -> dict[str, dict[int, float | None]]:
    """Return the Dice of each case and class value."""
    return {row.case: row.dice for row in scores.rows}


def report(scores: Scores, comparison: RunComparison | None, path: Path) -> Path:
    """Write scores as one page, with what the comparison with another run says."""
    from napari_attnseg.evaluation import Evaluation, write_report
    from napari_attnseg.evaluation.scores import CaseScore, ClassScore

    cases = [
        CaseScore(
            row.case,
            {
                value: ClassScore(
                    name=scores.run.classes.get(value, f"class {value}"),
                    dice=dice,
                    iou=row.iou.get(value),
                    volume_ml=row.volume_ml.get(value, 0.0),
                    reference_ml=row.reference_ml.get(value, 0.0),
                )
                for value, dice in row.dice.items()
            },
        )
        for row in scores.rows
    ]
    notes = () if comparison is None else (comparison.words(),)
    made = Evaluation(tuple(cases), unmatched=scores.unmatched, warnings=notes)
    return write_report(made, path, title=f"Evaluation of {scores.run.title}")


def write_table(scores: Scores, path: Path) -> None:
    """Write scores as CSV; an empty field stands for a class in neither mask."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "set", "class", "dice", "iou", "volume_ml", "reference_ml"])
        for row in scores.rows:
            for value, dice in row.dice.items():
                name = scores.run.classes.get(value, str(value))
                numbers = (dice, row.iou.get(value), row.volume_ml.get(value))
                reference = row.reference_ml.get(value)
                cells = ["" if one is None else f"{one:.6g}" for one in (*numbers, reference)]
                writer.writerow([row.case, row.set or "", name, *cells])


def _row(one: dict[str, Any], sets: dict[str, str | None]) -> ScoreRow:
    classes = {int(value): facts for value, facts in one["classes"].items()}

    def column(key: str) -> dict[int, Any]:
        return {value: facts.get(key) for value, facts in classes.items()}

    return ScoreRow(
        case=one["case"],
        set=sets.get(one["case"]),
        dice=column("dice"),
        iou=column("iou"),
        volume_ml={value: ml or 0.0 for value, ml in column("volume_ml").items()},
        reference_ml={value: ml or 0.0 for value, ml in column("reference_ml").items()},
    )
