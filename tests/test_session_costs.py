"""What the window tells of a network's cost, with jobs that a test answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from psygnal import Signal

from napari_attnseg.session import WorkList
from napari_attnseg.session.background import deliver_now
from napari_attnseg.session.costs import CostDesk
from napari_attnseg.volume import Volume

DESCRIPTION = {
    "model": {"backbone": "unet3d", "attention": "se", "dims": 3},
    "patch_size": [16, 16, 16],
    "spacing_dhw": [1, 1, 1],
    "orientation": "RAS",
    "size_multiple": [4, 4, 4],
    "context_margin": [0, 0, 0],
}
COST = {
    "parameters": 1000,
    "multiply_adds": 2_640_000_000,
    "window_seconds": 0.4,
    "window_bytes": 117_000_000,
    "step_seconds": 1.96,
    "step_bytes": 1_250_000_000,
    "note": "",
}


class Cases:
    """A worklist with one open case."""

    case_opened = Signal(object)

    def __init__(self) -> None:
        self.case: Any = None

    def open(self) -> None:
        image = Volume(np.zeros((1, 8, 20, 12), np.float32), np.eye(4))
        self.case = SimpleNamespace(image=image)
        self.case_opened.emit(self.case)


class Runner:
    """Keeps the jobs that were asked for, for the test to answer."""

    def __init__(self) -> None:
        self.jobs: list[SimpleNamespace] = []

    def start(self, kind: str, settings: dict[str, Any], on_event: Any) -> SimpleNamespace:
        job = SimpleNamespace(kind=kind, settings=settings, tell=on_event, stops=0)
        job.stop = lambda: setattr(job, "stops", job.stops + 1)
        self.jobs.append(job)
        on_event({"event": "state", "state": "RUNNING"})
        return job

    def answer(self, kind: str, **result: Any) -> None:
        job = [one for one in self.jobs if one.kind == kind][-1]
        job.tell({"event": "result", **result})
        job.tell({"event": "state", "state": "DONE"})

    def of(self, kind: str) -> list[SimpleNamespace]:
        return [one for one in self.jobs if one.kind == kind]


@pytest.fixture
def desk() -> Any:
    runner, cases = Runner(), Cases()
    work = WorkList(runner, deliver_now)
    return SimpleNamespace(desk=CostDesk(work, cases), runner=runner, cases=cases, work=work)


def test_a_network_is_measured_once_however_often_it_is_shown(desk: Any) -> None:
    for _ in range(3):
        desk.desk.want(DESCRIPTION, {"project": "p"})

    (job,) = desk.runner.of("measure_model")
    assert job.settings == {"project": "p", "model": DESCRIPTION["model"], "only_known": False}
    assert desk.desk.words() == ["measuring time and memory…"]


def test_the_words_hold_products_memory_and_time(desk: Any) -> None:
    desk.desk.want(DESCRIPTION, {})
    desk.cases.open()
    desk.runner.answer("measure_model", **COST)
    desk.runner.answer("count_windows", windows=30)

    assert desk.desk.words() == [
        "2.6 G multiply-adds a window",
        "117 MB to segment",
        "1.2 GB to train",
        "this case in about 12 s",
        "training step about 2 s",
    ]


def test_the_windows_are_counted_on_the_grid_of_the_open_case(desk: Any) -> None:
    desk.desk.want(DESCRIPTION, {})
    desk.cases.open()

    (job,) = desk.runner.of("count_windows")
    assert job.settings["shape_dhw"] == [8, 20, 12]
    assert job.settings["plan"]["patch_size"] == [16, 16, 16]


def test_what_was_told_of_another_network_is_not_shown(desk: Any) -> None:
    desk.desk.want(DESCRIPTION, {})
    other = {**DESCRIPTION, "model": {"backbone": "vnet", "attention": "se", "dims": 3}}
    desk.desk.want(other, {})

    first, _ = desk.runner.of("measure_model")
    first.tell({"event": "result", **COST})

    assert first.stops == 1
    assert desk.desk.words() == ["measuring time and memory…"]


def test_beside_a_training_only_what_is_known_is_asked_for(desk: Any) -> None:
    training = desk.work.start("train", {}, "Training")
    desk.desk.want(DESCRIPTION, {})
    assert desk.runner.of("measure_model")[-1].settings["only_known"]
    desk.runner.answer("measure_model", note="")

    desk.runner.answer("train")

    assert training.has_ended
    assert not desk.runner.of("measure_model")[-1].settings["only_known"]


def test_what_was_not_measured_is_said(desk: Any) -> None:
    desk.desk.want(DESCRIPTION, {})
    note = "A window would need about 9.0 GB, and 2.0 GB can be used, so it was not measured."
    predicted = {"predicted_window_bytes": 9e9, "predicted_step_bytes": 4e10, "note": note}
    desk.runner.answer("measure_model", parameters=1, multiply_adds=3e12, **predicted)

    assert desk.desk.words() == [
        "3.0 T multiply-adds a window",
        "at least 9.0 GB to segment",
        "at least 40.0 GB to train",
        note,
    ]
