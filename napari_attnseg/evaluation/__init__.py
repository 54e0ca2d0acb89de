"""Scores of predictions against references, per case and class."""

from __future__ import annotations

from napari_attnseg.evaluation.evaluate import EvaluationError, evaluate
from napari_attnseg.evaluation.report import write_report
from napari_attnseg.evaluation.scores import CaseScore, ClassScore, Evaluation

__all__ = [
    "CaseScore",
    "ClassScore",
    "Evaluation",
    "EvaluationError",
    "evaluate",
    "write_report",
]
