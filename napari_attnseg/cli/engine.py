"""Runs a job inside the command, where Ctrl-C means: stop and keep what was reached."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from napari_attnseg.cli.app import note
from napari_attnseg.cli.display import Display
from napari_attnseg.jobs import JOBS, Context, Event


def run_job(
    kind: str,
    settings: dict[str, Any],
    title: str,
    on_event: Callable[[Event], None] | None = None,
) -> Event:
    """Do a job here and now, showing its progress; returns its result.

    Args:
        kind: Of the job.
        settings: Of the job.
        title: What the progress bar says.
        on_event: Also called with every event.
    """
    # What a library prints must not get into a result on stdout.
    with stop_on_ctrl_c() as stop, contextlib.redirect_stdout(sys.stderr), Display(title) as bar:
        steps = JOBS[kind](settings, Context(should_stop=stop.is_set))
        while True:
            try:
                event = next(steps)
            except StopIteration as end:
                return dict(end.value or {})
            bar.show(event)
            if on_event is not None:
                on_event(event)


@contextlib.contextmanager
def stop_on_ctrl_c() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C sets; the second one ends the program."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        note("Stopping after this step and keeping what was reached; Ctrl-C again ends at once.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
