"""What a network costs: measured where it fits, told where it does not."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch

from napari_attnseg.config import ModelConfig
from napari_attnseg.training import cost as costs
from napari_attnseg.training.cost import Cost, measure_cost

CPU = torch.device("cpu")
PATCH = (8, 12, 16)


def ended(steps: Generator[Any, None, Cost]) -> Cost:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("dims", [2, 3])
def test_time_and_memory_of_a_window_and_a_step_are_measured(dims: int) -> None:
    cost = ended(measure_cost(ModelConfig("unet3d", "se", dims=dims), PATCH, 2, CPU))

    assert cost.step_seconds is not None
    assert cost.window_seconds is not None
    assert cost.step_seconds > cost.window_seconds > 0
    assert cost.note == ""
    assert not cost.is_reckoned


def test_a_network_that_does_not_fit_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "available_memory", lambda device: 1000)
    monkeypatch.setattr(costs, "_with_window", pytest.fail)

    cost = ended(measure_cost(ModelConfig(), PATCH, 2, CPU))

    assert cost.window_seconds is None
    assert "A window would need about" in cost.note
    assert cost.predicted_window_bytes > 1000


def test_a_step_that_does_not_fit_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    window = ended(measure_cost(ModelConfig(), PATCH, 8, CPU)).predicted_window_bytes
    monkeypatch.setattr(costs, "available_memory", lambda device: window + 1)
    monkeypatch.setattr(costs, "_with_step", pytest.fail)

    cost = ended(measure_cost(ModelConfig(), PATCH, 8, CPU))

    assert cost.window_seconds is not None
    assert cost.step_seconds is None
    assert "A training step would need about" in cost.note


def test_what_would_take_long_is_reckoned_from_a_small_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(costs, "LONGEST_SECONDS", 1e-9)
    monkeypatch.setattr(costs, "PROBE_VOXELS", 8)
    monkeypatch.setattr(costs, "_seconds", lambda model, window, precision: window.numel() / 1e6)

    cost = ended(measure_cost(ModelConfig(), (8, 16, 16), 2, CPU))

    assert cost.is_reckoned
    assert cost.window_seconds == pytest.approx(8 * 16 * 16 / 1e6)
    assert cost.step_seconds == pytest.approx(3.5 * 2 * 8 * 16 * 16 / 1e6)
    assert "reckoned" in cost.note


def test_a_published_network_is_counted_without_its_weights() -> None:
    cost = ended(
        measure_cost(ModelConfig(preset="paper"), (16, 16, 16), 1, CPU, should_stop=lambda: True)
    )

    assert cost.parameters > 19_000_000
    assert cost.step_seconds is None
