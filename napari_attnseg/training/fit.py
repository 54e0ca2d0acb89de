"""Train a network on cases: a generator that tells what it does and can be asked to stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch

from napari_attnseg.cohort.case import listed
from napari_attnseg.inference.device import choose_device, choose_precision
from napari_attnseg.inference.run import Run, load_run, save_run_files
from napari_attnseg.training.card import model_card
from napari_attnseg.training.cases import (
    MEMORY_SHARE,
    PreparedCase,
    Shelf,
    TrainingError,
    absent_classes,
    free_memory_bytes,
    prepare_cases,
)
from napari_attnseg.training.folder import RunFolder
from napari_attnseg.training.loop import Training
from napari_attnseg.training.progress import Progress
from napari_attnseg.training.reports import (
    CaseDice,
    ProgressReport,
    Report,
    RunResult,
    StepReport,
    ValidationReport,
    WarningReport,
    class_means,
)
from napari_attnseg.training.setup import make_learner, make_training, without_wrong_mirroring
from napari_attnseg.training.task import FitTask
from napari_attnseg.training.validation import MOST_CASES, exact_dice, some_of

DEFAULT_MINUTES = 10.0
LENGTHS = ("minutes", "epochs", "steps")
"""Settings that say how long a training lasts; one is enough."""
MUCH_SMALLER = 0.75
"""Part of what is usual below which a case's size is told."""

ShouldStop = Callable[[], bool]


def never() -> bool:
    """Return False: nobody asks to stop."""
    return False


def fit(task: FitTask, should_stop: ShouldStop = never) -> Generator[Report, None, RunResult]:
    """Train, and yield a report at every step; what a stopped run left behind is gone on with.

    A run folder that holds a resume file is resumed as if nothing had happened: counted in epochs
    on a CPU, its weights end bit-equal to those of a run that was never interrupted.

    Args:
        task: What is to be learned.
        should_stop: Asked after every step; then what was reached is kept, and the state of the
            result is ``"stopped"``.

    Raises:
        TrainingError: If the training cannot start or go on; what was reached is kept.
    """
    folder = RunFolder(task.run_dir)
    folder.path.mkdir(parents=True, exist_ok=True)
    steps = _fit(_with_a_length(task), folder, should_stop)
    try:
        while True:
            try:
                report = next(steps)
            except StopIteration as end:
                result: RunResult = end.value
                return result
            if not isinstance(report, (StepReport, ProgressReport)):
                folder.log(json.dumps(report.to_event()))
            yield report
    except Exception as error:
        folder.log(f"Ended by an error: {error}")
        raise
    finally:
        steps.close()
        folder.clean()


def _fit(
    task: FitTask, folder: RunFolder, should_stop: ShouldStop
) -> Generator[Report, None, RunResult]:
    device = choose_device(task.train.device)
    precision = choose_precision(device, task.train.precision)
    threads = task.train.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    facts = {"precision": precision, "threads": threads, "device": device.type}
    _save_settings(task, **facts)
    saved = folder.load_resume()
    shelf = Shelf(folder.cache, free_memory_bytes() * MEMORY_SHARE)
    learned = yield from _prepared(task, "cases", shelf, should_stop)
    checked = yield from _prepared(task, "validation", shelf, should_stop)
    if should_stop():
        return _result(task, Progress(1, (1, 1, 1), 1), "stopped", {}, None)
    task = without_wrong_mirroring(task, learned)
    _save_settings(task, **facts)
    yield from _warnings(task, learned, checked)
    learner = make_learner(task, device, precision)
    extras = {} if saved is None else {"before": saved["before"]}
    if saved is None:
        extras["before"] = yield from _before(task, should_stop)
    training = make_training(task, folder, learner, learned, checked)
    training.extras = extras
    if saved is not None:
        _restore(training, saved)
    state = yield from training.run(should_stop)
    return (yield from _finish(task, folder, training, state, should_stop))


def _with_a_length(task: FitTask) -> FitTask:
    if any(getattr(task.train, name) is not None for name in LENGTHS):
        return task
    train = task.train.replace(minutes=DEFAULT_MINUTES)
    return FitTask(**{**vars(task), "train": train})


def _save_settings(task: FitTask, **facts: Any) -> None:
    save_run_files(
        task.run_dir,
        config=task.model,
        plan=task.plan,
        classes=task.classes,
        channels=task.channels,
        split=task.split,
        train=task.train.to_dict(),
        new_cases=sorted(task.new_cases),
        **{"start": None if task.start is None else task.start.id, **facts, **task.facts},
    )


def _prepared(
    task: FitTask, which: str, shelf: Shelf, should_stop: ShouldStop
) -> Generator[Report, None, list[PreparedCase]]:
    cases = list(getattr(task, which))
    if which == "validation":
        labelled = [case for case in cases if case.label is not None]
        cases = some_of(labelled, MOST_CASES, task.train.seed)
    return (
        yield from prepare_cases(
            cases,
            plan=task.plan,
            values=task.values,
            ignore_label=task.train.ignore_label,
            shelf=shelf,
            should_stop=should_stop,
        )
    )


def _warnings(
    task: FitTask, learned: list[PreparedCase], checked: list[PreparedCase]
) -> Generator[Report, None, None]:
    for name in absent_classes(learned, task.classes):
        yield WarningReport(f"The class {name} occurs in no training case; it is not learned.")
    if not checked:
        yield WarningReport(
            "There is no validation case, so nobody knows how good the result is; the last "
            "weights are kept. Label more cases to have some checked."
        )
    yield from _damage([*learned, *checked])
    yield from _smallness(task, learned)


def _damage(cases: list[PreparedCase]) -> Generator[Report, None, None]:
    """Say in which images there are voxels without a value."""
    damaged = [f"{case.name} ({case.unusable:,})" for case in cases if case.unusable]
    if damaged:
        images = "1 image has" if len(damaged) == 1 else f"{len(damaged)} images have"
        yield WarningReport(
            f"{images} voxels that are NaN or infinite: {listed(damaged)}. They count as outside "
            "the body; if they should not, mend the files and train again."
        )


def _smallness(task: FitTask, learned: list[PreparedCase]) -> Generator[Report, None, None]:
    """Say which cases are much smaller than is usual, or than the patch that somebody chose."""
    expected = np.array(task.plan.patch_size)
    if task.train.patch_size is None:
        # The plan's own patch covers the usual case and a little more.
        expected = MUCH_SMALLER * np.minimum(expected, task.plan.shape_dhw)
    small = [case.name for case in learned if (np.array(case.shape_dhw) < expected).any()]
    if small:
        sizes = " x ".join(map(str, task.plan.patch_size))
        much = "" if task.train.patch_size else "much "
        cases = "case" if len(learned) == 1 else "cases"
        is_one = len(small) == 1
        yield WarningReport(
            f"{len(small)} of {len(learned)} {cases} {'is' if is_one else 'are'} {much}smaller "
            f"than the patch of {sizes} voxels along an axis, and "
            f"{'its' if is_one else 'their'} border is repeated there: {listed(small)}. See "
            "whether something is cut off, or choose a smaller patch."
        )


def _before(
    task: FitTask, should_stop: ShouldStop
) -> Generator[Report, None, dict[str, dict[int, float | None]] | None]:
    if task.start is None or not task.validation:
        return None
    return (yield from exact_dice(task.start, task.validation, task.values, should_stop))


def _restore(training: Training, saved: dict[str, Any]) -> None:
    try:
        training.learner.restore(saved["learner"])
        training.progress = Progress(**saved["progress"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(
            "The resume file does not fit the network of this run, so the run cannot be resumed. "
            "Its weights are kept; start a new training from this run instead."
        ) from error
    if training.progress.checked_cases:
        training.checked = training.checked[: training.progress.checked_cases]
    training.folder.forget_after(training.progress.step)


def _finish(
    task: FitTask, folder: RunFolder, training: Training, state: str, should_stop: ShouldStop
) -> Generator[Report, None, RunResult]:
    progress, found = training.progress, {}
    if state == "done" and task.split["val"]:
        run = load_run(task.run_dir, device=str(training.learner.device))
        found = yield from _check_all(task, run, progress, should_stop)
        # Asked to stop meanwhile; resuming makes up for it.
        state = "done" if found else "stopped"
    result = _result(task, progress, state, found, training.extras["before"])
    parameters = sum(one.numel() for one in training.learner.model.parameters())
    folder.save_text("model_card.md", model_card(task, result, parameters=parameters))
    folder.save_result(result.to_json())
    return result


def _check_all(
    task: FitTask, run: Run, progress: Progress, should_stop: ShouldStop
) -> Generator[Report, None, dict[str, dict[int, float | None]]]:
    labelled = [case for case in task.validation if case.label is not None]
    found = yield from exact_dice(run, labelled, task.values, should_stop)
    if found:
        epoch = progress.best_epoch
        yield ValidationReport(epoch, class_means(found), found, True, True, 0.0)
    return found


def _result(
    task: FitTask,
    progress: Progress,
    state: str,
    found: CaseDice,
    before: CaseDice | None,
) -> RunResult:
    return RunResult(
        run=task.run_dir.name,
        state=state,
        best_epoch=progress.best_epoch,
        classes=dict(task.classes),
        validation=found,
        seconds=progress.elapsed_seconds,
        steps=progress.step,
        epochs=progress.epoch if progress.step else 0,
        before=before,
    )
