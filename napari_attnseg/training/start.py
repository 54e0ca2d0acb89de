"""Train on a project: from what a person asked for to a run, new, gone on with, or resumed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from napari_attnseg.cohort.project import Project
from napari_attnseg.cohort.run_folders import RUNS
from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.inference.device import choose_device
from napari_attnseg.inference.run import WEIGHTS_FILES, Run, load_run
from napari_attnseg.models.backbones import BACKBONES
from napari_attnseg.preprocessing import Plan, make_plan
from napari_attnseg.preprocessing.fingerprint import Fingerprint, fingerprint
from napari_attnseg.training.cases import TrainingCase, TrainingError, naming
from napari_attnseg.training.fit import LENGTHS, ShouldStop, fit, never
from napari_attnseg.training.folder import RESUME
from napari_attnseg.training.learner import parameters_of, peak_rate_of
from napari_attnseg.training.reports import ProgressReport, Report, RunResult, WarningReport
from napari_attnseg.training.resume import resumed_task
from napari_attnseg.training.task import FitTask
from napari_attnseg.volume import Volume, require_same_grid

FINE_TUNING_MINUTES = 3.0


def train_project(
    settings: Mapping[str, Any], should_stop: ShouldStop = never
) -> Generator[Report, None, RunResult]:
    """Train on a project's cases, and yield a report at every step.

    Args:
        settings: ``project`` is its folder. ``model`` and ``train`` hold what is asked for of
            `ModelConfig` and `TrainConfig`, ``plan`` overrides of `Plan`. ``from`` is a run to
            fine-tune (id or folder), and ``learn_from`` the cases that are new to it. ``resume``
            is a run to resume, True for the latest that can be; then all else is taken from it.
            ``run_dir`` is the run's folder, by default the project's next one. ``init`` is a file
            with weights that a new network begins with.
        should_stop: Asked after every step.

    Raises:
        TrainingError: If the training cannot start or go on.
        ValueError: If a setting or a case cannot be used.
    """
    project = Project.open(settings["project"])
    task: FitTask | None
    if settings.get("resume"):
        task = resumed_task(project, settings["resume"])
    elif settings.get("from"):
        task = fine_tuning_task(project, settings)
    else:
        task = yield from _new_task(project, settings, should_stop)
    if task is None:
        return _nothing(project)
    yield from _left_out(project)
    if settings.get("resume"):
        return (yield from fit(task, should_stop))
    run_dir = Path(settings.get("run_dir") or project.new_run_dir())
    task = dataclasses.replace(task, run_dir=run_dir)
    return (yield from _fit_in_new_folder(project, task, should_stop))


def _fit_in_new_folder(
    project: Project, task: FitTask, should_stop: ShouldStop
) -> Generator[Report, None, RunResult]:
    """Fit in a folder of its own, which is removed again if nothing comes of it."""
    try:
        result = yield from fit(task, should_stop)
    finally:
        is_begun = any(
            (task.run_dir / name).exists() for name in (RESUME, *WEIGHTS_FILES.values())
        )
        if not is_begun:
            shutil.rmtree(task.run_dir, ignore_errors=True)
    return result if is_begun else _nothing(project)


def _nothing(project: Project) -> RunResult:
    """Return the result of a training that was stopped before its first step."""
    return RunResult("", "stopped", 0, project.classes, {}, 0.0, 0, 0)


def fine_tuning_task(project: Project, settings: Mapping[str, Any]) -> FitTask:
    """Return the task of going on from a run, on its own plan, with old and new cases.

    Raises:
        TrainingError: If the project has classes or images that the run does not know.
        ValueError: If a case to learn from is a validation case or has no label.
    """
    learn_from = list(settings.get("learn_from") or ())
    for name in learn_from:
        project.require_learnable(name)
    train = _asked(settings, "train", project)
    if all(train.get(name) is None for name in LENGTHS):
        train["minutes"] = FINE_TUNING_MINUTES
    config = TrainConfig.from_dict(train)
    start = _start(project, settings["from"], config.device)
    rate = peak_rate_of(config, parameters=parameters_of(start.model), is_fine_tuning=True)
    config = config.replace(learning_rate=rate)
    _require_same_task(project, start)
    cases = [TrainingCase.of(case) for case in project.training_cases()]
    known = set(start.split.get("train", ()))
    return FitTask(
        cases=cases,
        validation=[TrainingCase.of(case) for case in project.validation_cases()],
        plan=start.plan,
        model=at_stage(start.config, _asked(settings, "model")),
        train=config,
        run_dir=project.path / RUNS,  # until it begins
        classes=start.classes,
        channels=start.channels,
        start=start,
        new_cases=frozenset(learn_from or (case.name for case in cases if case.name not in known)),
    )


def at_stage(config: ModelConfig, asked: Mapping[str, Any]) -> ModelConfig:
    """Return the network of a run, at another of its training stages where one is asked for.

    Args:
        config: Of the run.
        asked: What was asked for of `ModelConfig`; only ``options["stage"]`` can differ.
    """
    stage = (asked.get("options") or {}).get("stage")
    if stage is None:
        return config
    return config.replace(options={**config.options, "stage": stage})


def model_config(given: Mapping[str, Any], *, channels: int, classes: int) -> ModelConfig:
    """Return a network's configuration, sized by the plan unless something else was asked for.

    Args:
        given: What was asked for of `ModelConfig`.
        channels: Images of a case.
        classes: Classes without the background.
    """
    backbone = BACKBONES[given.get("backbone", ModelConfig().backbone)]
    chosen = {"dims": backbone.dims[0], **given}
    if "preset" not in chosen and "plan" in backbone.presets:
        chosen["preset"] = "plan"
    return ModelConfig.from_dict({**chosen, "in_channels": channels, "out_channels": classes + 1})


def _new_task(
    project: Project, settings: Mapping[str, Any], should_stop: ShouldStop
) -> Generator[Report, None, FitTask | None]:
    train = TrainConfig.from_dict(_asked(settings, "train", project))
    model = model_config(
        _asked(settings, "model"),
        channels=len(project.channels),
        classes=len(project.classes),
    )
    cases = [TrainingCase.of(case) for case in project.training_cases()]
    if not cases:
        raise TrainingError(
            "There is no labelled case to learn from; label at least one case, or add a folder "
            "with labels."
        )
    facts = yield from _fingerprint(cases, project.channels, should_stop)
    if facts is None:
        return None
    plan = _plan(facts, model, train, _asked(settings, "plan"))
    if model.preset == "plan":
        model = model.replace(options={**plan.model_options, **model.options})
    return FitTask(
        cases=cases,
        validation=[TrainingCase.of(case) for case in project.validation_cases()],
        plan=plan,
        model=model,
        train=train,
        run_dir=project.path / RUNS,  # until it begins
        classes=dict(project.classes),
        channels=list(project.channels),
        init=settings.get("init"),
        facts=_facts(project, settings.get("init")),
    )


def _facts(project: Project, init: str | None) -> dict[str, Any]:
    """Return what else a run should say of itself: its first weights, and overlapping regions."""
    facts: dict[str, Any] = {"init": Path(init).name} if init else {}
    if project.regions.members:
        facts["regions"] = project.regions.to_json()
    return facts


def _plan(
    facts: Fingerprint, model: ModelConfig, train: TrainConfig, overrides: Mapping[str, Any]
) -> Plan:
    chosen = dict(overrides)
    if train.patch_size is not None:
        depth = [1] if len(train.patch_size) == 2 else []
        chosen["patch_size"] = [*depth, *train.patch_size]
    if train.batch_size is not None:
        chosen["batch_size"] = train.batch_size
    device = choose_device(train.device).type
    return make_plan(facts, dims=model.dims, device=device, overrides=chosen)


def _fingerprint(
    cases: Sequence[TrainingCase], channels: Sequence[str], should_stop: ShouldStop
) -> Generator[Report, None, Fingerprint | None]:
    """Measure the cases in a thread, and tell how far it is; None if asked to stop."""
    seen: SimpleQueue[str] = SimpleQueue()
    with ThreadPoolExecutor(1) as pool:
        volumes = _volumes(cases, seen.put, should_stop)
        measured = pool.submit(fingerprint, volumes, channels=tuple(channels))
        done = 0
        while not (measured.done() and seen.empty()):
            try:
                name = seen.get(timeout=0.1)
            except Empty:
                continue
            done += 1
            yield ProgressReport(done, len(cases), f"Looking at {name}")
    return None if should_stop() else measured.result()


def _volumes(
    cases: Sequence[TrainingCase], tell: Callable[[str], None], should_stop: ShouldStop
) -> Iterator[tuple[Volume, Volume]]:
    for case in cases:
        if should_stop():
            return
        with naming(case):
            image, label = case.read_image(), case.read_label()
            require_same_grid(image.grid, label.grid, names=(f"image of {case.name}", "label"))
        yield image, label
        tell(case.name)


def _asked(
    settings: Mapping[str, Any], key: str, project: Project | None = None
) -> dict[str, Any]:
    """Return what was asked for under a key, without what was left open."""
    asked = {k: value for k, value in (settings.get(key) or {}).items() if value is not None}
    if project is not None and project.ignore_label is not None:
        asked.setdefault("ignore_label", project.ignore_label)
    return asked


def _left_out(project: Project) -> Generator[Report, None, None]:
    names = [case.name for case in project.cases if case.label is None]
    if names:
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        yield WarningReport(
            f"{len(names)} of {len(project.cases)} cases have no label and are not learned from: "
            f"{shown}."
        )


def _start(project: Project, run: str, device: str) -> Run:
    return load_run(project.run_dir(run), device=device)


def _require_same_task(project: Project, start: Run) -> None:
    strange = [name for value, name in project.classes.items() if value not in start.classes]
    if strange:
        raise TrainingError(
            f"Run {start.id} does not know the class {strange[0]}; train a new run from scratch."
        )
    if start.channels and tuple(start.channels) != tuple(project.channels):
        raise TrainingError(
            f"Run {start.id} needs the images {', '.join(start.channels)}, and the project has "
            f"{', '.join(project.channels)}; train a new run from scratch."
        )
