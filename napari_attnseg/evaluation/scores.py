"""Scores per case and class, their means, and how they are written down."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from napari_attnseg.io import atomic_write
from napari_attnseg.metrics import Overlap
from napari_attnseg.volume import Grid

COLUMNS = ("case", "class", "name", "dice", "iou", "volume_ml", "reference_ml")


@dataclass(frozen=True)
class ClassScore:
    """One class of one case.

    Args:
        name: Of the class.
        dice: 0 to 1; None where the class is in neither prediction nor reference.
        iou: Likewise.
        volume_ml: Predicted volume in mL.
        reference_ml: True volume in mL.
    """

    name: str
    dice: float | None
    iou: float | None
    volume_ml: float
    reference_ml: float

    @classmethod
    def of(cls, name: str, counted: Overlap, grid: Grid) -> ClassScore:
        """Build from counted voxels of a grid."""
        millilitres = grid.voxel_volume_ml
        return cls(
            name=name,
            dice=counted.dice,
            iou=counted.iou,
            volume_ml=counted.prediction_voxels * millilitres,
            reference_ml=counted.reference_voxels * millilitres,
        )


@dataclass(frozen=True)
class CaseScore:
    """All classes of one case, by class value, and its regions by name."""

    case: str
    classes: Mapping[int, ClassScore]
    regions: Mapping[str, ClassScore] = field(default_factory=dict)

    @property
    def dice(self) -> float | None:
        """Mean over the classes that the case has."""
        return _mean([one.dice for one in self.classes.values()])


@dataclass(frozen=True)
class Evaluation:
    """Scores of some cases.

    Args:
        cases: One for each prediction.
        unmatched: Names of references without a prediction.
        warnings: What a person should know, as sentences.
    """

    cases: tuple[CaseScore, ...]
    unmatched: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def classes(self) -> dict[int, str]:
        """Names of the scored classes by value."""
        found = {value: one.name for case in self.cases for value, one in case.classes.items()}
        return dict(sorted(found.items()))

    def scores(self, value: int, score: str = "dice") -> list[float]:
        """Return one score of one class in every case that has one."""
        rows = (case.classes[value] for case in self.cases if value in case.classes)
        found = (getattr(row, score) for row in rows)
        return [one for one in found if one is not None]

    def mean(self, value: int) -> dict[str, float | None]:
        """Return the mean ``dice`` and ``iou`` of one class over the cases that have it."""
        return {score: _mean(self.scores(value, score)) for score in ("dice", "iou")}

    def region_scores(self, name: str, score: str = "dice") -> list[float]:
        """Return one score of one region in every case that has one."""
        rows = (case.regions[name] for case in self.cases if name in case.regions)
        found = (getattr(row, score) for row in rows)
        return [one for one in found if one is not None]

    @property
    def region_means(self) -> dict[str, dict[str, float | None]]:
        """Mean ``dice`` and ``iou`` of each region over the cases that have it; empty for none."""
        names = dict.fromkeys(name for case in self.cases for name in case.regions)
        return {
            name: {score: _mean(self.region_scores(name, score)) for score in ("dice", "iou")}
            for name in names
        }

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON-ready values; class values are strings, no score is null.

        Where there are regions, each case has ``regions`` beside its ``classes``, and their means
        are the ``regions`` beside ``mean``.
        """
        means = self.region_means
        return {
            "cases": [_case_json(case) for case in self.cases],
            "mean": {str(value): self.mean(value) for value in self.classes},
            **({"regions": means} if means else {}),
            "unmatched": list(self.unmatched),
        }

    def to_csv(self, path: str | Path) -> Path:
        """Write one row for each case and class or region; no score is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in self.cases:
            for value, one in (*case.classes.items(), *case.regions.items()):
                writer.writerow([case.case, value, *vars(one).values()])
        with atomic_write(path) as file:
            file.write(text.getvalue().encode())
        return Path(path)


def _case_json(case: CaseScore) -> dict[str, Any]:
    classes = {str(value): vars(one) for value, one in case.classes.items()}
    regions = {name: vars(one) for name, one in case.regions.items()}
    return {"case": case.case, "classes": classes, **({"regions": regions} if regions else {})}


def _mean(scores: list[float] | list[float | None]) -> float | None:
    present = [one for one in scores if one is not None]
    return fmean(present) if present else None
