"""How far a training is, and the learning rate that belongs to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_attnseg.config import TrainConfig

WARM_UP_STEPS = 25
"""Steps in which the rate rises: Adam's estimates of the second moment are poor at first."""


@dataclass(frozen=True)
class Schedule:
    """The length of a training and its learning rate.

    Counted in epochs it depends on the step alone, so that a resumed run repeats the uninterrupted
    one bit by bit; counted in minutes it follows the clock, so that the rate has come down when
    the time is up, however fast the machine is.

    Args:
        peak_rate: Highest learning rate.
        kind: ``"cosine"`` or ``"poly"`` (power 0.9).
        total_steps: Steps, if counted in epochs or steps.
        total_seconds: Wall time, if counted in minutes; of several, the first to end ends it.
    """

    peak_rate: float
    kind: str
    total_steps: int | None
    total_seconds: float | None

    @classmethod
    def of(cls, train: TrainConfig, *, peak_rate: float, steps_per_epoch: int) -> Schedule:
        """Return the schedule that the settings ask for."""
        passes = None if train.epochs is None else train.epochs * steps_per_epoch
        counts = [count for count in (passes, train.steps) if count is not None]
        seconds = None if train.minutes is None else train.minutes * 60
        return cls(peak_rate, train.schedule, min(counts, default=None), seconds)

    def progress(self, step: int, elapsed_seconds: float) -> float:
        """Return the part that is done, 0 to 1, before the given step (from 0) is made."""
        done = 0.0
        if self.total_steps is not None:
            done = step / self.total_steps
        if self.total_seconds is not None:
            done = max(done, elapsed_seconds / self.total_seconds)
        return min(1.0, done)

    def rate(self, step: int, elapsed_seconds: float) -> float:
        """Return the learning rate of a step."""
        progress = self.progress(step, elapsed_seconds)
        if self.kind == "poly":
            falling = (1 - progress) ** 0.9
        else:
            falling = (1 + math.cos(math.pi * progress)) / 2
        warm_up = WARM_UP_STEPS
        if self.total_steps is not None:
            warm_up = min(warm_up, max(1, self.total_steps // 10))
        return self.peak_rate * falling * min(1.0, (step + 1) / warm_up)

    def seconds_left(self, step: int, elapsed_seconds: float) -> float:
        """Return the expected time that is left, validations included."""
        limits = []
        if self.total_steps is not None:
            limits.append(elapsed_seconds / max(step, 1) * (self.total_steps - step))
        if self.total_seconds is not None:
            limits.append(self.total_seconds - elapsed_seconds)
        return max(0.0, min(limits))
