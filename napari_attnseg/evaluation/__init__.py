"""Scores of predictions against references, per case and class."""

from __future__ import annotations

from napari_attnseg.evaluation.evaluate import EvaluationError, evaluate
from napari_attnseg.evaluation.region_scores import region_dice
from napari_attnseg.evaluation.report import write_report
from napari_attnseg.evaluation.scores import CaseScore, ClassScore, Evaluation

__all__ = [
    "CaseScore",
    "ClassScore",
    "Evaluation",
    "EvaluationError",
    "evaluate",
    "region_dice",
    "write_report",
]
