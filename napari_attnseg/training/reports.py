"""What training tells while it runs: small frozen reports, each one JSON event."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

CaseDice = Mapping[str, Mapping[int, float | None]]
"""Dice by case and class value; None where a class is in neither mask."""


@dataclass(frozen=True)
class Report:
    """Base of all reports; `to_event` gives the JSON-ready event."""

    event: ClassVar[str]

    def to_event(self) -> dict[str, Any]:
        """Return the event as it goes over the wire."""
        return {"event": self.event, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class ProgressReport(Report):
    """How much of a countable piece of work is done, such as reading the cases."""

    event: ClassVar[str] = "progress"
    done: int
    total: int
    text: str
    eta_seconds: float | None = None


@dataclass(frozen=True)
class StepReport(Report):
    """One optimiser step.

    Args:
        step: Steps made, this one included.
        epoch: Epoch that the step belongs to, from 1.
        loss: Loss of the step's batch.
        parts: Named parts of the loss.
        learning_rate: Rate that the step was made with.
        progress: Part of the training that is done, 0 to 1.
        seconds: Wall time of the step.
        eta_seconds: Time left.
    """

    event: ClassVar[str] = "step"
    step: int
    epoch: int
    loss: float
    parts: Mapping[str, float]
    learning_rate: float
    progress: float
    seconds: float
    eta_seconds: float


@dataclass(frozen=True)
class ValidationReport(Report):
    """Dice on validation cases.

    Args:
        epoch: Epoch in which it was measured.
        mean: Mean over cases, by class value.
        cases: Dice by case and class value.
        is_best: Whether these weights are the best so far.
        is_full: Whether every validation case was predicted with prediction's own settings, on
            its own grid; else a few cases were, in a cheaper way.
        seconds: Wall time.
    """

    event: ClassVar[str] = "validation"
    epoch: int
    mean: Mapping[int, float | None]
    cases: CaseDice
    is_best: bool
    is_full: bool
    seconds: float

    @property
    def dice(self) -> float | None:
        """Mean over the classes that were measured."""
        return mean_of(self.mean.values())

    def to_event(self) -> dict[str, Any]:
        return {
            "event": self.event,
            "epoch": self.epoch,
            "dice": self.dice,
            "mean": with_text_keys(self.mean),
            "cases": {name: with_text_keys(one) for name, one in self.cases.items()},
            "best": self.is_best,
            "full": self.is_full,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class PreviewReport(Report):
    """A slice of a validation case with its label and prediction, kept in an ``.npz`` file."""

    event: ClassVar[str] = "preview"
    case: str
    path: Path

    def to_event(self) -> dict[str, Any]:
        return {"event": self.event, "case": self.case, "path": str(self.path)}


@dataclass(frozen=True)
class CheckpointReport(Report):
    """From here the training can be resumed."""

    event: ClassVar[str] = "checkpoint"
    epoch: int
    path: Path

    def to_event(self) -> dict[str, Any]:
        return {"event": self.event, "epoch": self.epoch, "path": str(self.path)}


@dataclass(frozen=True)
class WarningReport(Report):
    """Something that the person should know, and the work goes on."""

    event: ClassVar[str] = "warning"
    text: str


@dataclass(frozen=True)
class RunResult(Report):
    """How a training ended.

    Args:
        run: Id of the run.
        state: ``"done"`` or ``"stopped"``.
        best_epoch: Epoch of the kept weights.
        classes: Names by class value.
        validation: Dice of the kept weights by case and class value, on the native grids with
            prediction's own settings; empty if it was not measured.
        seconds: Wall time of steps and validations.
        steps: Optimiser steps made.
        epochs: Epochs begun.
        before: Dice before fine-tuning, by case and class value, if it was one.
    """

    event: ClassVar[str] = "result"
    run: str
    state: str
    best_epoch: int
    classes: Mapping[int, str]
    validation: CaseDice
    seconds: float
    steps: int
    epochs: int
    before: CaseDice | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what ``result.json`` holds."""
        document: dict[str, Any] = {
            "run": self.run,
            "state": self.state,
            "best_epoch": self.best_epoch,
            "classes": with_text_keys(self.classes),
            "validation": _scores(self.validation),
            "seconds": round(self.seconds, 3),
            "steps": self.steps,
            "epochs": self.epochs,
            **self.details,
        }
        if self.before is not None:
            document["before"] = _scores(self.before)
            document["after"] = _scores(self.validation)
        return document

    def to_event(self) -> dict[str, Any]:
        return {"event": self.event, **self.to_json()}


def class_means(cases: CaseDice) -> dict[int, float | None]:
    """Return the mean Dice by class value over the cases where the class was measured."""
    values = sorted({value for one in cases.values() for value in one})
    return {value: mean_of(one.get(value) for one in cases.values()) for value in values}


def mean_of(numbers: Any) -> float | None:
    """Return the mean of the numbers that are not None, or None if there are none."""
    known = [number for number in numbers if number is not None]
    return sum(known) / len(known) if known else None


def with_text_keys(values: Mapping[int, Any]) -> dict[str, Any]:
    """Return the mapping with class values as JSON keys."""
    return {str(key): value for key, value in values.items()}


def _scores(cases: CaseDice) -> dict[str, Any]:
    return {
        "cases": {name: with_text_keys(one) for name, one in cases.items()},
        "mean": with_text_keys(class_means(cases)),
    }
