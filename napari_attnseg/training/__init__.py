"""Training that survives: stopped, killed or out of memory, a run can be gone on with."""

from __future__ import annotations

from napari_attnseg.training.cases import TrainingCase, TrainingError
from napari_attnseg.training.fit import fit
from napari_attnseg.training.reports import Report, RunResult
from napari_attnseg.training.task import FitTask

__all__ = ["FitTask", "Report", "RunResult", "TrainingCase", "TrainingError", "fit"]
