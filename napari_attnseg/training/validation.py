"""How good the weights are: cheaply on a few cases in between, exactly on all at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from napari_attnseg.axes import Size
from napari_attnseg.config import PredictConfig
from napari_attnseg.inference.predict import predict_steps
from napari_attnseg.inference.run import Run
from napari_attnseg.inference.sliding import sliding_window, strongest_class
from napari_attnseg.losses import IGNORE_INDEX
from napari_attnseg.metrics.overlap import overlap
from napari_attnseg.preprocessing import Plan
from napari_attnseg.training.cases import PreparedCase, TrainingCase, naming
from napari_attnseg.training.learner import Learner
from napari_attnseg.training.reports import ProgressReport, Report

CHEAP_OVERLAP = 0.25
MOST_CASES = 8
"""Cases of a validation in between: enough to tell better from worse weights."""


def predicted_channels(learner: Learner, case: PreparedCase, plan: Plan) -> np.ndarray:
    """Return the channel index of each voxel of a prepared case, ``(D, H, W)``."""
    windows = sliding_window(
        learner.model,
        case.image[None],
        cast("Size", plan.patch_size),
        overlap=CHEAP_OVERLAP,
        precision=learner.precision,
    )
    return strongest_class(_result(windows)).cpu().numpy()


def cheap_dice(
    predicted: np.ndarray, case: PreparedCase, values: Sequence[int]
) -> dict[int, float | None]:
    """Return the Dice by class value on the network's grid; ignored voxels do not count."""
    reference = case.label.numpy()
    is_known = reference != IGNORE_INDEX
    channels = range(1, len(values) + 1)
    scores = overlap(predicted * is_known, reference * is_known, list(channels))
    return {value: scores[channel].dice for channel, value in zip(channels, values, strict=True)}


def exact_dice(
    run: Run,
    cases: Sequence[TrainingCase],
    values: Sequence[int],
    should_stop: Callable[[], bool],
) -> Generator[Report, None, dict[str, dict[int, float | None]]]:
    """Predict every case as prediction does, and return the Dice on its own grid.

    Asked to stop, it returns nothing at all: means over a part of the cases would mislead.

    Args:
        run: Network with its plan.
        cases: Validation cases.
        values: Class values, ascending.
        should_stop: Asked between windows.
    """
    found: dict[str, dict[int, float | None]] = {}
    began = time.perf_counter()
    for done, case in enumerate(cases, start=1):
        with naming(case):
            image, reference = case.read_image(), case.read_label()
        steps = predict_steps(run, image, PredictConfig(), should_stop)
        prediction = _result(steps)
        if prediction is None:
            return {}
        scores = overlap(prediction.labels.data[0], reference.data[0], list(values))
        found[case.name] = {value: scores[value].dice for value in values}
        spent = time.perf_counter() - began
        left = spent / done * (len(cases) - done)
        yield ProgressReport(done, len(cases), f"Checking on {case.name}", left)
    return found


def preview_of(case: PreparedCase, predicted: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return the slice along D that has most labelled voxels: image, label and prediction."""
    label = case.label.numpy()
    is_labelled = (label > 0) & (label != IGNORE_INDEX)
    at = int(is_labelled.sum(axis=(1, 2)).argmax())
    return {
        "image": case.image[0, at].numpy().astype(np.float32),
        "label": label[at],
        "prediction": predicted[at],
        "slice": np.array(at),
    }


def some_of(cases: Sequence[PreparedCase], count: int, seed: int) -> list[PreparedCase]:
    """Return a few cases, always the same ones, chosen by chance and in their own order."""
    order = np.random.default_rng([seed, 3]).permutation(len(cases))
    return [cases[at] for at in sorted(order[:count])]


def _result(steps: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
