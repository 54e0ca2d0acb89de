"""Which run of a project can be resumed, and what it was doing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_attnseg.cohort.project import Project
from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.inference.run import Run, load_run
from napari_attnseg.preprocessing import Plan
from napari_attnseg.training.cases import TrainingCase, TrainingError
from napari_attnseg.training.folder import RESUME
from napari_attnseg.training.task import FitTask

RECORDED = ("threads", "precision")
"""Facts of a run that a resumed one must have again to end bit-equal."""


def resumed_task(project: Project, run: str | Path | bool) -> FitTask:
    """Return what a stopped, killed or failed run was doing.

    Args:
        project: The project of the run.
        run: Id or folder of the run, or True for the latest one that can be resumed.

    Raises:
        TrainingError: If there is nothing to resume.
    """
    run_dir = _newest_to_resume(project) if run is True else Path(project.run_dir(str(run)))
    saved = _read(run_dir / "config.json")
    if _is_done(run_dir):
        raise TrainingError(
            f"Run {run_dir.name} has already ended as it should; to train it further, start a "
            f"new one from it (--from {run_dir.name})."
        )
    train = {**saved["train"], **{name: saved[name] for name in RECORDED if saved.get(name)}}
    return FitTask(
        cases=_named(project, saved["split"]["train"]),
        validation=_named(project, saved["split"]["val"]),
        plan=Plan.from_dict(_read(run_dir / "plan.json")),
        model=ModelConfig.from_dict(saved["model"]),
        train=TrainConfig.from_dict(train),
        run_dir=run_dir,
        classes={int(value): name for value, name in saved["classes"].items()},
        channels=saved["channels"],
        start=_resumed_start(project, run_dir, saved),
        new_cases=frozenset(saved.get("new_cases", ())),
        facts={name: saved[name] for name in ("start", "init", "regions") if name in saved},
    )


def _resumed_start(project: Project, run_dir: Path, saved: Mapping[str, Any]) -> Run | None:
    """Return the run that a fine-tuning began from, if it has not gone beyond that yet."""
    if saved.get("start") is None or (run_dir / RESUME).exists():
        return None
    return load_run(project.run_dir(saved["start"]), device=saved["train"]["device"])


def _named(project: Project, names: Sequence[str]) -> list[TrainingCase]:
    return [TrainingCase.of(project.case(name)) for name in names]


def _newest_to_resume(project: Project) -> Path:
    """Return the newest run that was saved and has not ended as it should.

    Where there is none, the newest one that has is as good: it says what to do instead.
    """
    runs = [Path(run) for run in reversed(project.runs())]
    saved = [run for run in runs if (run / RESUME).is_file()]
    stopped = [run for run in saved if not _is_done(run)]
    if stopped or saved:
        return (stopped or saved)[0]
    if not runs:
        raise TrainingError("The project has no run to resume; train a new one.")
    raise TrainingError(
        f"The project has no run to resume: run {runs[0].name} ended before it was saved for the "
        "first time. Train a new one."
    )


def _is_done(run_dir: Path) -> bool:
    path = run_dir / "result.json"
    return path.exists() and _read(path).get("state") == "done"


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"The run {path.parent.name} cannot be resumed: {path.name} is missing or damaged."
        ) from error
    return values
