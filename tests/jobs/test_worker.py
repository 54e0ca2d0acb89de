"""The child that stays for many jobs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from napari_attnseg.jobs import Job, Runner, State, Worker

Until = Callable[[Callable[[], bool]], None]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(load=("more_kinds",))
    yield worker
    worker.close()


def counting(steps: int, seconds: float = 0.0) -> Job:
    return Job("count", {"steps": steps, "seconds": seconds})


def test_jobs_are_done_in_one_child_one_after_another(worker: Worker) -> None:
    handles = [worker.submit(counting(steps)) for steps in (3, 1, 2)]

    assert [handle.wait(30) for handle in handles] == [State.DONE] * 3
    results = [handle.result or {} for handle in handles]
    assert [result["counted"] for result in results] == [3, 1, 2]
    assert len({result["pid"] for result in results}) == 1


def test_a_job_is_stopped_between_its_steps_and_the_next_one_runs(
    worker: Worker, until: Until
) -> None:
    first = worker.submit(counting(1000, 0.02))
    second = worker.submit(counting(2))
    until(lambda: first.state is State.RUNNING)

    before = time.monotonic()
    first.stop()

    assert time.monotonic() - before < 0.2
    assert first.state is State.STOPPING
    assert first.wait(10) is State.STOPPED
    assert second.wait(10) is State.DONE


def test_a_waiting_job_is_stopped_without_ever_running(worker: Worker, until: Until) -> None:
    first = worker.submit(counting(1000, 0.02))
    second = worker.submit(counting(1000, 0.02))
    until(lambda: first.state is State.RUNNING)

    second.stop()

    assert second.state is State.STOPPED
    assert first.state is State.RUNNING
    first.stop()
    assert first.wait(10) is State.STOPPED


def test_a_killed_child_loses_its_job_and_is_replaced(worker: Worker, until: Until) -> None:
    first = worker.submit(counting(1000, 0.02))
    second = worker.submit(counting(2))
    until(lambda: first.state is State.RUNNING)
    lost = worker.pid
    assert lost is not None

    os.kill(lost, signal.SIGKILL)

    assert first.wait(10) is State.LOST
    assert second.wait(30) is State.DONE
    assert second.result is not None
    assert second.result["pid"] != lost


def test_a_child_killed_between_jobs_is_replaced_unnoticed(worker: Worker) -> None:
    worker.submit(counting(1)).wait(30)
    assert worker.pid is not None

    os.kill(worker.pid, signal.SIGKILL)
    second = worker.submit(counting(1))

    assert second.wait(30) is State.DONE


def test_a_child_that_cannot_begin_loses_each_job_only_after_a_second_try() -> None:
    worker = Worker(load=("no_such_module",))

    handle = worker.submit(counting(1))

    assert handle.wait(30) is State.LOST
    assert handle.trouble is not None
    assert "no_such_module" in handle.trouble.details
    worker.close()


def test_a_failed_job_leaves_the_child_ready_for_the_next(worker: Worker) -> None:
    first = worker.submit(Job("fail", {"how": "oom"}))
    second = worker.submit(counting(1))

    assert first.wait(30) is State.FAILED
    assert second.wait(30) is State.DONE


def test_a_closed_worker_ends_its_child_and_refuses_in_words(worker: Worker, until: Until) -> None:
    running = worker.submit(counting(1000, 0.02))
    waiting = worker.submit(counting(1))
    until(lambda: running.state is State.RUNNING)

    worker.close()

    assert waiting.wait(1) is State.STOPPED
    assert running.wait(10) is State.STOPPED
    until(lambda: worker.pid is None)
    late = worker.submit(counting(1))
    assert late.wait(1) is State.FAILED
    assert late.trouble is not None


def test_the_runner_gives_training_a_child_of_its_own() -> None:
    runner = Runner(load=("more_kinds",))

    training = runner.start("train", {"project": "/nowhere/at/all"})
    counting_up = runner.start("count", {"steps": 1})

    assert counting_up.wait(30) is State.DONE
    assert training.wait(60) in (State.FAILED, State.LOST)
    assert training.trouble is not None
    assert training.trouble.text
    runner.close()
