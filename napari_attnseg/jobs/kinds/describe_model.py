"""What a network is and what it would cost, for those who choose.

Settings: ``model`` (of `ModelConfig`), and ``project`` (folder) or ``run`` (folder), whose cases
or plan size the network where its preset is ``plan``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.config import ModelConfig
from napari_attnseg.jobs.contract import JOBS, Context, Event

if TYPE_CHECKING:
    from napari_attnseg.cohort.project import ProjectCase
    from napari_attnseg.preprocessing import Fingerprint, Plan
    from napari_attnseg.volume import Volume

MOST_CASES = 8
"""Cases that are measured for an estimate; training measures all."""

MOST_TIMED = 32
"""Voxels along an axis of the window whose time is taken; large ones are reckoned from it."""


@JOBS.register("describe_model")
def describe_model(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Return `models.describe_model`, with memory, spacing and seconds where a plan is known."""
    from napari_attnseg.models import describe_model as describe

    yield {"event": "progress", "done": 0, "total": 1, "text": "Building the network"}
    config = ModelConfig.from_dict(settings["model"])
    plan = _plan(settings, config, context)
    if plan is not None and config.preset == "plan":
        config = config.replace(options={**plan.model_options, **config.options})
    described = describe(config)
    if plan is None or context.should_stop():
        return described
    return {
        **described,
        "memory_bytes": plan.memory_bytes or None,
        "spacing_dhw": list(plan.spacing_dhw),
        "patch_size": list(plan.patch_size),
        "case_seconds": _case_seconds(config, plan),
    }


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


def _case_seconds(config: ModelConfig, plan: Plan) -> float:
    """Return about how long a usual case takes, from the time of one window."""
    import torch

    from napari_attnseg.inference import choose_device
    from napari_attnseg.models import build_model

    device = choose_device()
    model = build_model(config).eval().to(device)
    size = [min(n, MOST_TIMED) for n in plan.patch_size]
    x = torch.zeros((1, config.in_channels, *size), device=device)
    with torch.inference_mode():
        float(model(x).sum())  # the first call also chooses algorithms
        start = time.perf_counter()
        float(model(x).sum())
        seconds = time.perf_counter() - start
    return seconds * math.prod(plan.patch_size) / math.prod(size) * _windows(plan)


def _windows(plan: Plan) -> int:
    """Return the windows over a usual volume, neighbours overlapping by half."""
    sizes = zip(plan.shape_dhw, plan.patch_size, strict=True)
    return math.prod(1 + max(0, math.ceil((size - patch) / (patch / 2))) for size, patch in sizes)
