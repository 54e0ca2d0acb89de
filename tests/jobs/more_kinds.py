"""Kinds of jobs that only the tests' children know; each does one thing that can happen."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from napari_attnseg.jobs import JOBS, Context, Event

Steps = Generator[Event, None, Event]


@JOBS.register("count")
def count(settings: dict[str, Any], context: Context) -> Steps:
    """Count, and keep how far it came in a file, as training keeps a checkpoint."""
    done = 0
    for done in range(1, settings["steps"] + 1):
        if context.should_stop():
            break
        yield {"event": "progress", "done": done, "total": settings["steps"]}
        time.sleep(settings.get("seconds", 0.0))
    state = "stopped" if context.should_stop() else "done"
    if "keep" in settings:
        Path(settings["keep"]).write_text(f"{state} {done}", encoding="utf-8")
    return {"counted": done, "state": state, "pid": os.getpid(), "nice": os.nice(0)}


@JOBS.register("chatter")
def chatter(settings: dict[str, Any], context: Context) -> Steps:
    """Print as libraries do, from Python, from C and from a program of its own."""
    print("a library prints")  # noqa: T201 - what is tested
    ctypes.CDLL(None).puts(b"a C library prints")
    ctypes.CDLL(None).fflush(None)
    subprocess.run([sys.executable, "-c", "print('a program prints')"], check=True)
    yield {"event": "progress", "done": 1, "total": 1}
    return {"loss": float("nan"), "path": Path("a")}


@JOBS.register("garbage")
def garbage(settings: dict[str, Any], context: Context) -> Steps:
    """Write what is no event where events are written."""
    # The stream of events is the only one that the child writes to beside its log.
    pipes = [one for one in range(3, 20) if _is_writable_pipe(one)]
    for line in (b"\xff\xfe not text\n", b"[1, 2]\n", b'{"half": \n', b'{"no": 1}\n', b"\n"):
        os.write(pipes[0], line)
    yield {"event": "state", "state": ["not", "a", "state"]}
    return {"survived": True}


@JOBS.register("fail")
def fail(settings: dict[str, Any], context: Context) -> Steps:
    """Raise what was asked for."""
    yield {"event": "progress", "done": 0, "total": 1}
    errors = {
        "runtime": RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        "oom": RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        "cpu-oom": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        "disk": OSError(errno.ENOSPC, "No space left on device", "weights.safetensors"),
        "value": ValueError("The label is on another grid."),
        "exit": SystemExit(3),
        "key": KeyError("missing"),
    }
    raise errors[settings["how"]]


@JOBS.register("die")
def die(settings: dict[str, Any], context: Context) -> Steps:
    """End the process without a word."""
    yield {"event": "progress", "done": 0, "total": 1}
    os.kill(os.getpid(), settings["signal"])
    time.sleep(10)
    return {}


def _is_writable_pipe(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
        return stat.S_ISFIFO(mode) and os.write(descriptor, b"\n") == 1
    except OSError:
        return False
