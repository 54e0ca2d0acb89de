"""Jobs in real children: each way in which they end has a name, a sentence and a next step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.jobs import Job, JobProcess, State

Until = Callable[[Callable[[], bool]], None]
KINDS = ("more_kinds",)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of Unix")


def started(kind: str, **settings: Any) -> tuple[JobProcess, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return JobProcess(Job(kind, settings), events.append, load=KINDS).start(), events


def states(events: list[dict[str, Any]]) -> list[str]:
    return [event["state"] for event in events if event["event"] == "state"]


def test_a_job_goes_through_its_states_and_gives_its_result() -> None:
    job, events = started("count", steps=3)

    assert job.wait(30) is State.DONE
    assert states(events) == ["STARTING", "RUNNING", "DONE"]
    assert [event["done"] for event in events if event["event"] == "progress"] == [1, 2, 3]
    assert job.result is not None
    assert job.result["counted"] == 3


def test_the_child_has_a_lower_priority_than_the_window() -> None:
    job, _ = started("count", steps=1)

    job.wait(30)

    assert job.result is not None
    assert job.result["nice"] == max(10, os.nice(0))


def test_stop_answers_at_once_and_keeps_what_was_reached(tmp_path: Path, until: Until) -> None:
    job, events = started("count", steps=1000, seconds=0.05, keep=str(tmp_path / "kept"))
    until(lambda: len(events) > 4)

    before = time.monotonic()
    job.stop()
    seconds = time.monotonic() - before

    assert seconds < 0.2
    assert states(events)[-1] == "STOPPING"
    assert job.wait(10) is State.STOPPED
    assert (tmp_path / "kept").read_text(encoding="utf-8").startswith("stopped")
    assert job.result is not None


def test_stop_before_the_child_has_loaded_its_libraries_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text("import time; time.sleep(1.5)", encoding="utf-8")
    os.environ["PYTHONPATH"] += os.pathsep + str(tmp_path)
    job = JobProcess(Job("count", {"steps": 1000}), load=("slow_import", *KINDS)).start()

    job.stop()

    assert job.state is State.STOPPING
    assert job.wait(20) is State.STOPPED


def test_a_killed_child_is_lost_with_a_sentence_and_a_next_step(until: Until) -> None:
    job, events = started("count", steps=1000, seconds=0.05)
    until(lambda: job.state is State.RUNNING)
    assert job.pid is not None

    os.kill(job.pid, signal.SIGKILL)

    assert job.wait(10) is State.LOST
    assert job.trouble is not None
    assert "signal 9" in job.trouble.text
    assert job.trouble.next_step
    assert [event["event"] for event in events][-2:] == ["error", "state"]


def test_a_lost_training_says_that_it_can_be_resumed() -> None:
    job = JobProcess(Job("train", {"project": "/nowhere"}), load=("no_such_module",)).start()

    assert job.wait(30) is State.LOST
    assert job.trouble is not None
    assert "Resume" in job.trouble.next_step
    assert "no_such_module" in job.trouble.details


def test_a_crash_is_lost_and_names_the_signal() -> None:
    job, _ = started("die", signal=int(signal.SIGSEGV))

    assert job.wait(30) is State.LOST
    assert job.trouble is not None
    assert "SIGSEGV" in job.trouble.text


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("runtime", "cannot be multiplied"),
        ("oom", "memory on the GPU is full"),
        ("cpu-oom", "memory of this computer is full"),
        ("disk", "disk is full at weights.safetensors"),
        ("value", "on another grid"),
        ("exit", "SystemExit"),
        ("key", "missing"),
    ],
)
def test_an_error_in_the_child_is_a_failure_in_words(how: str, words: str) -> None:
    job, events = started("fail", how=how)

    assert job.wait(30) is State.FAILED
    assert job.trouble is not None
    assert words in job.trouble.text
    assert "Traceback" not in job.trouble.text
    assert "Traceback" in job.trouble.details
    assert states(events)[-1] == "FAILED"


def test_an_unknown_kind_of_job_is_a_failure_that_lists_the_kinds() -> None:
    job, _ = started("dance")

    assert job.wait(30) is State.FAILED
    assert job.trouble is not None
    assert "count" in job.trouble.text


def test_garbage_among_the_events_breaks_nothing() -> None:
    job, _ = started("garbage")

    assert job.wait(30) is State.DONE
    assert job.result is not None
    assert job.result["survived"]


def test_what_libraries_print_goes_to_the_log(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    path = tmp_path / "log.txt"
    job = JobProcess(Job("chatter"), events.append, load=KINDS, log_path=path).start()

    assert job.wait(30) is State.DONE
    log = path.read_text(encoding="utf-8")
    assert all(f"{who} prints" in log for who in ("a library", "a C library", "a program"))
    assert {event["event"] for event in events} == {"state", "progress", "result"}


def test_numbers_that_json_lacks_arrive_as_null() -> None:
    job, _ = started("chatter")

    job.wait(30)

    assert job.result is not None
    assert job.result["loss"] is None
    assert job.result["path"] == "a"


def test_a_listener_that_fails_does_not_stop_the_job() -> None:
    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            raise RuntimeError("the window was closed")

    job = JobProcess(Job("count", {"steps": 3}), listen, load=KINDS).start()

    assert job.wait(30) is State.DONE


def test_a_slow_listener_hears_everything() -> None:
    heard: list[dict[str, Any]] = []

    def listen(event: dict[str, Any]) -> None:
        time.sleep(0.3)
        heard.append(event)

    job = JobProcess(Job("count", {"steps": 12}), listen, load=KINDS).start()

    assert job.wait(30) is State.DONE
    assert [event["event"] for event in heard].count("progress") == 12


def test_a_job_ended_at_once_by_its_owner_is_stopped_not_lost(until: Until) -> None:
    job, _ = started("count", steps=1000, seconds=0.05)
    until(lambda: job.state is State.RUNNING)

    job.kill()

    assert job.wait(10) is State.STOPPED


PARENT = """
import sys, time
from napari_attnseg.jobs import Job, JobProcess
events = []
job = Job("count", {{"steps": {steps}, "seconds": 0.05, "keep": {keep!r}}})
process = JobProcess(job, events.append, load=("more_kinds",)).start()
while len(events) < 4:
    time.sleep(0.01)
{then}
"""


def run_parent(keep: Path, steps: int, then: str) -> subprocess.CompletedProcess[bytes]:
    code = textwrap.dedent(PARENT).format(steps=steps, keep=str(keep), then=then)
    return subprocess.run([sys.executable, "-c", code], timeout=60)


def test_a_parent_that_crashes_leaves_a_job_that_stopped_and_kept(
    tmp_path: Path, until: Until
) -> None:
    kept = tmp_path / "kept"

    run_parent(kept, 1000, "import os; os.kill(os.getpid(), 9)")

    until(kept.exists)
    assert kept.read_text(encoding="utf-8").startswith("stopped")


def test_a_detached_job_goes_on_after_its_parent_has_ended(tmp_path: Path, until: Until) -> None:
    kept = tmp_path / "kept"

    run_parent(kept, 40, "process.detach()")

    assert not kept.exists()
    until(kept.exists)
    assert kept.read_text(encoding="utf-8") == "done 40"


SESSION = Path("/proc/self/autogroup")


@pytest.mark.skipif(not SESSION.exists(), reason="sessions have no priority here")
@pytest.mark.parametrize("own_session", [False, True])
def test_only_a_session_of_its_own_is_lowered_by_a_child(own_session: bool) -> None:
    # The outer process stands for a terminal, in a session of its own.
    terminal = (
        "import subprocess, sys\n"
        "command = [sys.executable, '-m', 'napari_attnseg.jobs', '--load', 'more_kinds']\n"
        'job = b\'{"kind": "count", "settings": {"steps": 1}}\\n\'\n'
        f"subprocess.run(command, input=job, start_new_session={own_session}, check=True,"
        " stdout=subprocess.DEVNULL)\n"
        f"print(open({str(SESSION)!r}).read())"
    )

    done = subprocess.run(
        [sys.executable, "-c", terminal],
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.split()[-1] == "0"
