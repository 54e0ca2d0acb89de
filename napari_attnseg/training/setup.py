"""Everything that a training is made of, put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast

import numpy as np
import torch

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.losses import LOSSES
from napari_attnseg.models import build_model
from napari_attnseg.models.initial import load_initial
from napari_attnseg.training.augment import Augmentation
from napari_attnseg.training.batches import Batch, BatchMaker
from napari_attnseg.training.cases import PreparedCase
from napari_attnseg.training.folder import RunFolder
from napari_attnseg.training.learner import Learner
from napari_attnseg.training.loop import Training
from napari_attnseg.training.progress import Progress
from napari_attnseg.training.sampling import Sampler, repeats_of
from napari_attnseg.training.schedule import Schedule
from napari_attnseg.training.sides import Mirroring, is_lopsided, mirroring
from napari_attnseg.training.task import FitTask

MOST_PATCHES_A_CASE = 8
GPU_WORKERS = 4


def make_learner(task: FitTask, device: torch.device, precision: str) -> Learner:
    """Return the network of a task, on its device, with the weights that it starts from."""
    torch.manual_seed(task.train.seed)
    model = build_model(task.model)
    if task.init is not None:
        load_initial(model, task.init)
    if task.start is not None:
        model.load_state_dict(task.start.model.state_dict())
    return Learner(
        model.to(device),
        LOSSES[task.train.loss],
        train=task.train,
        is_fine_tuning=task.start is not None,
        precision=precision,
    )


def without_wrong_mirroring(task: FitTask, learned: list[PreparedCase]) -> FitTask:
    """Return the task without mirroring where that would show bodies that do not exist.

    What is left out is then missing from the run's settings too, so that prediction does not
    average over mirrored images either.
    """
    allowed = mirroring(task.plan.orientation, task.classes)
    names = task.train.augment
    if "flip" not in names:
        return task
    if allowed.axis is not None and not is_lopsided(_places(task, learned, allowed)):
        return task
    train = task.train.replace(augment=tuple(name for name in names if name != "flip"))
    return dataclasses.replace(task, train=train)


def _places(task: FitTask, learned: list[PreparedCase], allowed: Mirroring) -> list[list[float]]:
    """Return, by class, its mean place across left and right in each case where it occurs."""
    paired = {index for pair in allowed.swaps for index in pair}
    places: list[list[float]] = []
    for index in range(1, len(task.classes) + 1):
        if index in paired:
            continue
        found = [case.place(index, allowed.axis or 0) for case in learned]
        places.append([one for one in found if one is not None])
    return places


def make_training(
    task: FitTask,
    folder: RunFolder,
    learner: Learner,
    learned: list[PreparedCase],
    checked: list[PreparedCase],
) -> Training:
    """Return a training at its very beginning.

    Args:
        task: What is to be learned.
        folder: Where everything is kept.
        learner: From `make_learner`.
        learned: Prepared cases to learn from.
        checked: Prepared cases for validations in between; may be none.
    """
    train, plan = task.train, task.plan
    repeats = repeats_of([case.name for case in learned], task.new_cases)
    progress = Progress(
        batch_size=plan.batch_size,
        patch_size=cast("Size", plan.patch_size),
        steps_per_epoch=train.steps_per_epoch or _steps_per_epoch(task, learned, sum(repeats)),
    )
    steps = progress.steps_per_epoch
    schedule = Schedule.of(train, peak_rate=learner.peak_rate, steps_per_epoch=steps)
    augmentation = Augmentation(
        train.augment, cast("Spacing", plan.spacing_dhw), mirroring(plan.orientation, task.classes)
    )

    def make_batches(batch_size: int, patch_size: Size) -> Callable[[int], Batch]:
        sampler = Sampler(
            shapes=[case.shape_dhw for case in learned],
            foreground=[case.foreground for case in learned],
            patch_size=patch_size,
            foreground_fraction=plan.foreground_fraction,
            repeats=repeats,
            seed=train.seed,
        )
        margin = learner.model.context_margin
        return BatchMaker(learned, sampler, augmentation, batch_size, margin).make

    return Training(
        learner=learner,
        schedule=schedule,
        train=train,
        plan=plan,
        values=task.values,
        folder=folder,
        checked=checked,
        make_batches=make_batches,
        extras={},
        progress=progress,
        workers=GPU_WORKERS if learner.device.type == "cuda" else 1,
    )


def _steps_per_epoch(task: FitTask, learned: list[PreparedCase], cases: int) -> int:
    """Return the steps of a pass, large cases counted with several patches."""
    patch = np.prod(task.plan.patch_size)
    ratio = float(np.median([np.prod(case.shape_dhw) / patch for case in learned]))
    patches = int(np.clip(round(ratio), 1, MOST_PATCHES_A_CASE))
    return -(-cases * patches // task.plan.batch_size)
