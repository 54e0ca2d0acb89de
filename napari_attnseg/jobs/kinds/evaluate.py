"""Scores of what a run predicted for the cases of its project.

Settings: ``project`` (folder), ``run`` (folder or id), ``set`` (val, test or train; the checked
cases, val and test, by default).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import JobError

CHECKED = ("val", "test")


@JOBS.register("evaluate")
def evaluate(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield progress case by case; returns the evaluation's JSON."""
    from napari_attnseg.cohort.project import Project
    from napari_attnseg.evaluation import Evaluation
    from napari_attnseg.evaluation import evaluate as compare
    from napari_attnseg.io import read_volume

    project = Project.open(settings["project"])
    run = Path(project.run_dir(settings.get("run")))
    folder = Path(project.predictions_dir(run.name))
    sets = (settings["set"],) if settings.get("set") else CHECKED
    cases = [(one, one.label) for one in project.cases if one.set in sets and one.label]
    if not cases:
        raise JobError("No labelled case is kept for checking, so there is nothing to compare.")
    scored, unmatched = [], []
    for done, (case, label) in enumerate(cases):
        if context.should_stop():
            break
        text = f"Comparing {case.name}"
        yield {"event": "progress", "done": done, "total": len(cases), "text": text}
        file = folder / f"{case.name}.nii.gz"
        if not file.is_file():
            unmatched.append(case.name)
            continue
        prediction = read_volume(file, labels=True)
        reference = read_volume(label, labels=True)
        one = compare(prediction, reference, classes=project.classes, regions=project.regions)
        scored.append(replace(one.cases[0], case=case.name))
    if not scored and not context.should_stop():
        raise JobError(f"Run {run.name} has not predicted these cases yet; segment them first.")
    state = "stopped" if context.should_stop() else "done"
    return {**Evaluation(tuple(scored), unmatched=tuple(unmatched)).to_json(), "state": state}
