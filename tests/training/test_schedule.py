from __future__ import annotations

import pytest

from napari_attnseg.config import TrainConfig
from napari_attnseg.training.schedule import WARM_UP_STEPS, Schedule


def test_counted_in_epochs_the_rate_does_not_look_at_the_clock() -> None:
    schedule = Schedule.of(TrainConfig(epochs=10), peak_rate=1.0, steps_per_epoch=7)

    assert schedule.rate(33, 5.0) == schedule.rate(33, 5000.0)


def test_counted_in_minutes_the_rate_is_down_when_the_time_is_up() -> None:
    schedule = Schedule.of(TrainConfig(minutes=2), peak_rate=1.0, steps_per_epoch=7)

    rates = [schedule.rate(1000, seconds) for seconds in (0, 60, 119.9)]

    assert rates == [pytest.approx(1.0), pytest.approx(0.5), pytest.approx(0.0, abs=1e-4)]


def test_the_rate_rises_first() -> None:
    schedule = Schedule.of(TrainConfig(minutes=2), peak_rate=1.0, steps_per_epoch=7)

    assert schedule.rate(0, 0) == pytest.approx(1 / WARM_UP_STEPS)
    assert schedule.rate(WARM_UP_STEPS - 1, 0) == 1.0


def test_with_both_limits_the_first_one_ends_it() -> None:
    schedule = Schedule.of(TrainConfig(epochs=10, minutes=1), peak_rate=1.0, steps_per_epoch=10)

    assert schedule.progress(99, 1.0) < 1
    assert schedule.progress(100, 1.0) == 1
    assert schedule.progress(10, 60.0) == 1


def test_the_time_left_comes_from_the_speed_so_far() -> None:
    schedule = Schedule.of(TrainConfig(epochs=10), peak_rate=1.0, steps_per_epoch=10)

    assert schedule.seconds_left(25, 5.0) == pytest.approx(15.0)


@pytest.mark.parametrize("kind", ["cosine", "poly"])
def test_every_kind_falls_from_the_peak_to_nothing(kind: str) -> None:
    train = TrainConfig(minutes=1, schedule=kind)
    schedule = Schedule.of(train, peak_rate=0.5, steps_per_epoch=10)

    rates = [schedule.rate(1000, seconds) for seconds in range(61)]

    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0)
