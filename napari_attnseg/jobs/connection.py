"""A child process and the threads that listen to it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from napari_attnseg.jobs.contract import Event
from napari_attnseg.jobs.events import from_line, to_line
from napari_attnseg.threads import sharing_processor

logger = logging.getLogger(__name__)

_LOG_TAIL = 4000
_LAST_WORDS_SECONDS = 2.0


class Connection:
    """Starts ``python -m napari_attnseg.jobs`` and listens to it until it ends.

    Args:
        arguments: For the child.
        on_event: Called on a thread of this object with each event.
        on_exit: Called once, after the last event, with the return code.
        log_path: File for what the child logs and prints; by default a temporary one that stays
            only if something went wrong.

    Raises:
        OSError: If the child cannot be started.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        on_event: Callable[[Event], None],
        on_exit: Callable[[int], None],
        log_path: Path | None = None,
    ) -> None:
        self.log_path = log_path or _new_log()
        self._is_log_ours = log_path is None
        self._on_event = on_event
        self._on_exit = on_exit
        self._writing = threading.Lock()
        self._idle_since: float | None = None
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "napari_attnseg.jobs", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**sharing_processor(os.environ), "PYTHONUNBUFFERED": "1"},
                **_apart(),
            )
        self._reader = threading.Thread(target=self._read, name="job-events", daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, name="job-exit", daemon=True).start()

    @property
    def pid(self) -> int:
        """Number of the child."""
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Tell the child something; a child that is gone is noticed by its exit, not here."""
        stdin = self._process.stdin
        assert stdin is not None
        with self._writing:
            try:
                stdin.write(to_line(message))
                stdin.flush()
            except (OSError, ValueError):
                logger.info("Process %d did not take %r", self.pid, message)

    def hang_up(self) -> None:
        """End the child's stdin: it stops, keeps what it has, and ends."""
        stdin = self._process.stdin
        assert stdin is not None
        with self._writing:
            try:
                stdin.close()
            except OSError:
                logger.info("Process %d was already gone", self.pid)

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()

    def log_tail(self) -> str:
        """Return the end of the child's log."""
        try:
            text = self.log_path.read_bytes()[-_LOG_TAIL:]
        except OSError:
            return ""
        return text.decode(errors="replace")

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            while line := self._next_line(stdout):
                event = from_line(line)
                if event is None or "event" not in event:
                    logger.warning("Process %d wrote no event: %r", self.pid, line[:200])
                    continue
                _guard(self._on_event, event)

    def _next_line(self, stdout: IO[bytes]) -> bytes:
        self._idle_since = time.monotonic()
        line = stdout.readline()
        self._idle_since = None
        return line

    def _wait(self) -> None:
        # Not the end of stdout but that of the process counts: processes that the child started
        # may hold its stdout open after it was killed.
        returncode = self._process.wait()
        while self._reader.is_alive() and not self._has_nothing_left():
            self._reader.join(0.05)
        self.hang_up()
        _guard(self._on_exit, returncode)
        if returncode == 0 and self._is_log_ours:
            self.log_path.unlink(missing_ok=True)

    def _has_nothing_left(self) -> bool:
        # A listener may be slow; only when nothing more arrives was everything heard.
        idle_since = self._idle_since
        return idle_since is not None and time.monotonic() - idle_since > _LAST_WORDS_SECONDS


def _guard(function: Callable[[Any], None], value: Any) -> None:
    try:
        function(value)
    except Exception:
        logger.exception("A listener of a job failed on %s", str(value)[:200])


def _new_log() -> Path:
    handle, name = tempfile.mkstemp(prefix="attnseg-", suffix=".log")
    os.close(handle)
    return Path(name)


def _apart() -> dict[str, Any]:
    """Return what keeps Ctrl-C and the end of a terminal from reaching the child directly."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        return {"creationflags": flags | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
