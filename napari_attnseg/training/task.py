"""What is to be learned: the whole input of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.inference.run import Run
from napari_attnseg.preprocessing import Plan
from napari_attnseg.training.cases import TrainingCase, TrainingError

MOST_CLASSES = 254
"""Channel indices are kept in one byte, and 255 is not learned from."""


@dataclass(frozen=True)
class FitTask:
    """A training with its cases, its network and its place.

    Args:
        cases: Cases to learn from; those without a label are left out with a warning.
        validation: Cases to check on, never learned from; may be none.
        plan: How images become the network's input.
        model: How the network is built.
        train: How it learns.
        run_dir: Folder of the run; made if it is not there.
        classes: Names by class value, without the background.
        channels: Names of the images of a case, in the network's order.
        start: Trained run to go on from, with the same plan and network.
        new_cases: Names of cases that are seen more often than the others.
        init: File with weights to begin with; see `napari_attnseg.models.initial`.
        facts: More that goes into ``config.json``.

    Raises:
        TrainingError: If a validation case is to be learned from, or nothing can be learned.
    """

    cases: Sequence[TrainingCase]
    validation: Sequence[TrainingCase]
    plan: Plan
    model: ModelConfig
    train: TrainConfig
    run_dir: Path
    classes: Mapping[int, str]
    channels: Sequence[str]
    start: Run | None = None
    new_cases: frozenset[str] = frozenset()
    init: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._refuse_validation_cases()
        if not any(case.label is not None for case in self.cases):
            raise TrainingError(
                "There is no labelled case to learn from; label at least one case, or add a "
                "folder with labels."
            )
        if not self.classes:
            raise TrainingError("The labels have no class beside the background.")
        if len(self.classes) > MOST_CLASSES:
            raise TrainingError(
                f"There are {len(self.classes)} classes; at most {MOST_CLASSES} can be learned."
            )

    @property
    def values(self) -> list[int]:
        """Return the class values, ascending."""
        return sorted(self.classes)

    @property
    def split(self) -> dict[str, list[str]]:
        """Return the names of the cases that are learned from and checked on."""
        return {
            "train": [case.name for case in self.cases if case.label is not None],
            "val": [case.name for case in self.validation if case.label is not None],
        }

    def _refuse_validation_cases(self) -> None:
        kept = {case.name for case in self.validation}
        if self.start is not None:
            kept |= set(self.start.split.get("val", ()))
        forbidden = [case.name for case in self.cases if case.name in kept]
        if forbidden:
            raise TrainingError(
                f"The case {forbidden[0]} is a validation case: it checks the result and is never "
                "learned from. Choose other cases."
            )
