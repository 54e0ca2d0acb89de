"""What a network costs on this machine: a window's and a training step's time and memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.inference.device import choose_precision, precision_context
from napari_attnseg.inference.peak import watching_memory
from napari_attnseg.losses import LOSSES
from napari_attnseg.models import SegmentationModel, build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.counting import count
from napari_attnseg.preprocessing.memory import available_memory
from napari_attnseg.training.batches import Batch
from napari_attnseg.training.learner import Learner

PROBE_VOXELS = 32
"""Voxels along an axis of the window that is timed first, to see what the real one would take."""

WARM_UP_VOXELS = 16

LONGEST_SECONDS = 10.0
"""A window or a step that would take longer is reckoned from the probe instead of measured."""

MOST_PASSES, QUICK_SECONDS = 6, 1.5
"""A window is timed again until so often, or for so long."""

STEPS_A_WINDOW = 3.5
"""A training step's time over that of as many windows: one pass forward, two back, the update."""

ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Cost:
    """What a network costs. Seconds and bytes are None where they were not measured.

    Args:
        parameters: Trainable weights.
        multiply_adds: Of one forward pass of one window.
        patch_size: Voxels of a window along D, H and W.
        batch_size: Patches of a training step.
        window_seconds: One window, in evaluation.
        window_bytes: Most memory that takes, weights included.
        step_seconds: One training step.
        step_bytes: Most memory that takes, optimiser included.
        predicted_window_bytes: Reckoned from the tensors that are made.
        predicted_step_bytes: Likewise.
        is_reckoned: Whether times come from a smaller window.
        note: A sentence on what was not measured, and why.
    """

    parameters: int
    multiply_adds: int
    patch_size: Size
    batch_size: int
    predicted_window_bytes: int
    predicted_step_bytes: int
    window_seconds: float | None = None
    window_bytes: int | None = None
    step_seconds: float | None = None
    step_bytes: int | None = None
    is_reckoned: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the cost as JSON-ready values."""
        return {**vars(self), "patch_size": list(self.patch_size)}


def measure_cost(
    config: ModelConfig,
    patch_size: Sequence[int],
    batch_size: int,
    device: torch.device,
    should_stop: ShouldStop = lambda: False,
) -> Generator[str, None, Cost]:
    """Yield what is being done, and return what a network costs.

    Nothing is measured that is expected to take more memory than there is. On a CPU memory is
    that of the whole process, so it should be one of its own.

    Args:
        config: Of the network.
        patch_size: Voxels of a window along D, H and W.
        batch_size: Patches of a training step.
        device: Where to measure.
        should_stop: Asked between measurements; what is known by then is returned.

    Raises:
        ModelError: If the network cannot be built.
    """
    yield "Counting"
    counted = count(config, patch_size, batch_size)
    with torch.device("meta"):
        parameters = count_parameters(build_model(config))
    cost = Cost(
        parameters,
        counted.multiply_adds,
        cast("Size", tuple(patch_size)),
        batch_size,
        predicted_window_bytes=counted.window_bytes,
        predicted_step_bytes=counted.step_bytes,
    )
    free = available_memory(str(device))
    if counted.window_bytes > free:
        return replace(cost, note=_too_large("A window", counted.window_bytes, free))
    yield "Measuring a window"
    _warm_up(config, device)
    cost = _with_window(cost, config, device)
    if should_stop():
        return cost
    if counted.step_bytes > free:
        return replace(cost, note=_too_large("A training step", counted.step_bytes, free))
    expected = STEPS_A_WINDOW * batch_size * (cost.window_seconds or 0.0)
    if cost.is_reckoned or expected > LONGEST_SECONDS:
        note = "The time of a training step is reckoned from that of a window."
        return replace(cost, step_seconds=expected, is_reckoned=True, note=note)
    yield "Measuring a training step"
    return _with_step(cost, config, device)


def _with_window(cost: Cost, config: ModelConfig, device: torch.device) -> Cost:
    precision = choose_precision(device)
    with watching_memory(device) as peak:
        model = build_model(config).eval().to(device)
        probe = [min(n, PROBE_VOXELS) for n in cost.patch_size]
        voxels = math.prod(cost.patch_size) / math.prod(probe)
        reckoned = _seconds(model, _window(model, probe), precision) * voxels
        if voxels > 1 and reckoned > LONGEST_SECONDS:
            return replace(cost, window_seconds=reckoned, is_reckoned=True)
        seconds = _seconds(model, _window(model, cost.patch_size), precision)
    return replace(cost, window_seconds=seconds, window_bytes=peak.taken_bytes)


def _with_step(cost: Cost, config: ModelConfig, device: torch.device) -> Cost:
    with watching_memory(device) as peak:
        learner = _learner(config, device)
        batch = _batch(config, cost.patch_size, cost.batch_size)
        # The first step also chooses algorithms and makes what the optimiser remembers.
        learner.step(batch, number=0, rate=1e-4)
        _wait(device)
        began = time.perf_counter()
        learner.step(batch, number=1, rate=1e-4)
        _wait(device)
        seconds = time.perf_counter() - began
    return replace(cost, step_seconds=seconds, step_bytes=peak.taken_bytes)


def _seconds(model: SegmentationModel, window: Tensor, precision: str) -> float:
    """Return the shortest time of a few passes after the first, which chooses algorithms.

    Others that use the machine make a pass longer, never shorter.
    """
    found: list[float] = []
    with torch.inference_mode(), precision_context(window.device, precision):
        while len(found) < 2 or (len(found) < MOST_PASSES and sum(found) < QUICK_SECONDS):
            _wait(window.device)
            began = time.perf_counter()
            model(window, has_context=any(model.context_margin))
            _wait(window.device)
            found.append(time.perf_counter() - began)
    return min(found[1:])


def _window(model: SegmentationModel, size: Sequence[int]) -> Tensor:
    around = [n + 2 * m for n, m in zip(size, model.context_margin, strict=True)]
    device = next(model.parameters()).device
    return torch.zeros((1, model.config.in_channels, *around), device=device)


def _batch(config: ModelConfig, patch_size: Sequence[int], batch_size: int) -> Batch:
    image = torch.zeros((batch_size, config.in_channels, *patch_size))
    return Batch(image, torch.zeros((batch_size, *patch_size), dtype=torch.int64))


def _learner(config: ModelConfig, device: torch.device) -> Learner:
    train = TrainConfig()
    return Learner(
        build_model(config).to(device),
        LOSSES[train.loss],
        train=train,
        is_fine_tuning=False,
        precision=choose_precision(device),
    )


def _warm_up(config: ModelConfig, device: torch.device) -> None:
    """Make a step with the smallest network of its kind: what the libraries load for that stays.

    It is none of the network's own cost.
    """
    tiny = config.replace(preset="tiny", options={})
    learner = _learner(tiny, device)
    learner.step(_batch(tiny, (WARM_UP_VOXELS,) * 3, 1), number=0, rate=1e-4)
    model = learner.model.eval()
    _seconds(model, _window(model, (WARM_UP_VOXELS,) * 3), learner.precision)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _too_large(what: str, needed: int, free: int) -> str:
    return (
        f"{what} would need about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB can be used, so "
        "it was not measured. Choose a smaller size of the network, or smaller patches."
    )
