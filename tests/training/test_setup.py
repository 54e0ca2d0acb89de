from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_attnseg.config import TrainConfig
from napari_attnseg.training import FitTask, fit
from napari_attnseg.training.cases import PreparedCase
from napari_attnseg.training.learner import ADAMW_LIMITS, peak_rate_of
from napari_attnseg.training.sampling import foreground_points
from napari_attnseg.training.setup import without_wrong_mirroring


def prepared(*starts_w: int) -> PreparedCase:
    """A case of 10 x 12 x 20 voxels whose classes 1, 2, ... begin at places along W."""
    label = np.zeros((10, 12, 20), dtype=np.uint8)
    for value, start in enumerate(starts_w, start=1):
        label[2:5, 2 * value : 2 * value + 2, start : start + 4] = value
    points = foreground_points(label, len(starts_w), np.random.default_rng(0))
    counts = np.bincount(label.reshape(-1), minlength=256)
    image = torch.zeros(1, 10, 12, 20)
    return PreparedCase("one", image, torch.from_numpy(label), points, counts)


def test_the_place_of_a_class_runs_from_minus_one_to_one() -> None:
    case = prepared(0, 16)

    assert case.place(1, 2) == pytest.approx(2 * 1.5 / 19 - 1)
    assert case.place(2, 2) == pytest.approx(2 * 17.5 / 19 - 1)
    assert case.place(3, 2) is None


def test_an_organ_that_is_always_on_one_side_is_not_mirrored(
    make_task: Callable[..., FitTask],
) -> None:
    cases = [prepared(start, 14 - start) for start in (0, 1, 2, 3)]

    changed = without_wrong_mirroring(make_task(), cases)

    assert "flip" not in changed.train.augment


def test_a_pair_that_swaps_is_mirrored(make_task: Callable[..., FitTask]) -> None:
    cases = [prepared(start, 14 - start) for start in (0, 1, 2, 3)]
    task = make_task(classes={1: "kidney left", 2: "kidney right"})

    assert without_wrong_mirroring(task, cases).train.augment == task.train.augment


def test_a_side_without_partner_is_not_mirrored_and_the_run_says_so(
    make_task: Callable[..., FitTask], finish: Callable[..., Any]
) -> None:
    task = make_task(train=TrainConfig(epochs=1), classes={1: "left kidney", 2: "liver"})

    finish(fit(task))

    saved = json.loads((task.run_dir / "config.json").read_text())
    assert "flip" not in saved["train"]["augment"]


def test_larger_networks_learn_at_a_lower_rate() -> None:
    rates = [
        peak_rate_of(TrainConfig(), parameters=count, is_fine_tuning=False)
        for count in (1, 85_000, 1_400_000, 19_000_000, 10**12)
    ]

    assert rates == sorted(rates, reverse=True)
    assert rates[2] == pytest.approx(5e-3)
    assert (rates[-1], rates[0]) == ADAMW_LIMITS


def test_a_rate_that_was_asked_for_is_taken() -> None:
    train = TrainConfig(learning_rate=0.123)

    assert peak_rate_of(train, parameters=10, is_fine_tuning=True) == 0.123
