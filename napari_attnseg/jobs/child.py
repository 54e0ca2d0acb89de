"""The child process: reads jobs and commands on stdin, writes events on stdout.

One job, whose JSON is the first line of stdin, or with ``--serve`` many, one after another, each
with an ``id``. Commands are ``{"command": "stop", "id": 0}`` and ``{"command": "detach"}``. When
stdin ends without ``detach``, whoever started the job is gone, perhaps crashed: the job stops and
keeps what it has, so that it can be resumed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import faulthandler
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from napari_attnseg.jobs.contract import JOBS, Context, Event, State
from napari_attnseg.jobs.events import EventStream
from napari_attnseg.jobs.inbox import Inbox, Request
from napari_attnseg.jobs.sentences import explain_error, is_out_of_memory

logger = logging.getLogger(__name__)

NICENESS = 10
SESSION_NICENESS = Path("/proc/self/autogroup")

Tell = Callable[[Event], None]


def main(arguments: Sequence[str]) -> int:
    """Do the jobs that stdin brings; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m napari_attnseg.jobs", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="do many jobs, keep models loaded")
    parser.add_argument("--load", action="append", default=[], help="module with more kinds")
    options = parser.parse_args(arguments)
    stdin, stdout = _reserve_streams()
    _prepare_process()
    inbox = Inbox(stdin)
    inbox.start()
    signal.signal(signal.SIGTERM, lambda *_: inbox.stop_everything())
    events = EventStream(stdout)
    for module in options.load:
        importlib.import_module(module)
    context = Context(should_stop=lambda: True)
    while (request := inbox.next()) is not None:
        state = _do(request, inbox, events, context)
        if not options.serve:
            return 0 if state in (State.DONE, State.STOPPED) else 1
    return 0


def _do(request: Request, inbox: Inbox, events: EventStream, context: Context) -> State:
    def tell(event: Event) -> None:
        events.write({**event, "job": request.id})

    tell({"event": "state", "state": State.RUNNING})
    state = State.STOPPED
    context = dataclasses.replace(context, should_stop=lambda: inbox.should_stop(request.id))
    if not context.should_stop():
        state = _attempt(request, tell, context)
    tell({"event": "state", "state": state})
    return state


def _attempt(request: Request, tell: Callable[[Event], None], context: Context) -> State:
    job = request.job
    try:
        steps = JOBS[job.kind](job.settings, context)
        while True:
            try:
                tell(next(steps))
            except StopIteration as end:
                result = end.value or {}
                tell({**result, "event": "result"})
                return State.STOPPED if result.get("state") == "stopped" else State.DONE
    except (Exception, SystemExit) as error:
        logger.exception("The job %s failed", job.kind)
        if is_out_of_memory(error):
            context.runs.forget()
        tell(dict(explain_error(error, job.kind).to_event()))
        return State.FAILED


def _reserve_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for messages; whatever a library prints goes to the log."""
    stdin = os.fdopen(os.dup(0), "rb")
    stdout = os.fdopen(os.dup(1), "wb", buffering=0)
    # On Windows a library that looks at stdin while a thread reads it waits for ever.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stdin, stdout


def _prepare_process() -> None:
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=form)
    logging.captureWarnings(capture=True)
    faulthandler.enable()
    threading.current_thread().name = "job"
    if hasattr(os, "nice"):
        os.nice(max(0, NICENESS - os.nice(0)))
    # Linux may share its cores among sessions. Where this process leads one of its own, only the
    # session's niceness counts against the window; a terminal's session is left as it is.
    if hasattr(os, "getsid") and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            SESSION_NICENESS.write_text(str(NICENESS), encoding="ascii")
