"""The network that settings of a job describe, sized by a plan where there is one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.config import ModelConfig
from napari_attnseg.jobs.contract import Context

if TYPE_CHECKING:
    from napari_attnseg.cohort.project import ProjectCase
    from napari_attnseg.preprocessing import Fingerprint, Plan
    from napari_attnseg.volume import Volume

MOST_CASES = 8
"""Cases that are measured for an estimate; training measures all."""


def planned_model(settings: dict[str, Any], context: Context) -> tuple[ModelConfig, Plan | None]:
    """Return a network's configuration, and the plan that it is used with, if there is one yet.

    Args:
        settings: ``model`` (of `ModelConfig`), and ``project`` (folder) or ``run`` (folder),
            whose cases or plan size the network where its preset is ``plan``.
        context: Keeps what was measured of the cases.
    """
    config = ModelConfig.from_dict(settings["model"])
    plan = _plan(settings, config, context)
    if plan is not None and config.preset == "plan":
        config = config.replace(options={**plan.model_options, **config.options})
    return config, plan


def _plan(settings: dict[str, Any], config: ModelConfig, context: Context) -> Plan | None:
    from napari_attnseg.inference import choose_device
    from napari_attnseg.preprocessing import Plan, make_plan

    if settings.get("run"):
        text = (Path(settings["run"]) / "plan.json").read_text(encoding="utf-8")
        return Plan.from_dict(json.loads(text))
    if not settings.get("project"):
        return None
    facts = _facts(Path(settings["project"]), context)
    if facts is None:
        return None
    return make_plan(facts, dims=config.dims, device=choose_device().type)


def _facts(folder: Path, context: Context) -> Fingerprint | None:
    """Return what some of a project's labelled cases are like, measured once while they stay."""
    from napari_attnseg.cohort.project import Project
    from napari_attnseg.preprocessing.fingerprint import fingerprint

    project = Project.open(folder)
    cases = project.training_cases()
    if not cases:
        return None
    chosen = cases[:: math.ceil(len(cases) / MOST_CASES)]
    key = ("fingerprint", str(folder), tuple(case.name for case in cases))
    if key not in context.memory:
        volumes = _volumes(chosen)
        context.memory[key] = fingerprint(volumes, channels=tuple(project.channels))
    found: Fingerprint = context.memory[key]
    return found


def _volumes(cases: list[ProjectCase]) -> Iterator[tuple[Volume, Volume]]:
    from napari_attnseg.io import read_volume
    from napari_attnseg.jobs.inputs import JobError, read_images

    for case in cases:
        assert case.label is not None
        try:
            yield read_images(case.images), read_volume(case.label, labels=True)
        except ValueError as error:
            raise JobError(f"The case {case.name} cannot be used: {error}") from error
