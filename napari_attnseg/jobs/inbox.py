"""What a child is told on stdin: jobs to do, and commands about them."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Any, BinaryIO

from napari_attnseg.jobs.contract import Job
from napari_attnseg.jobs.events import from_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A job with the number that its events carry."""

    id: int
    job: Job


class Inbox:
    """Reads messages on a thread of its own, so that a stop is known while work goes on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._requests: queue.Queue[Request | None] = queue.Queue()
        self._stopped: set[int] = set()
        self._stop_all = threading.Event()
        self._is_detached = False

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Request | None:
        """Wait for the next job; None when there will be no more."""
        return self._requests.get()

    def should_stop(self, request_id: int) -> bool:
        """Return whether a job was told to stop, or nobody is left to work for."""
        return self._stop_all.is_set() or request_id in self._stopped

    def stop_everything(self) -> None:
        """Let the current job give back what it has, and take no other."""
        self._stop_all.set()
        self._requests.put(None)

    def _read(self) -> None:
        try:
            for line in self._stream:
                self._take(line)
        except OSError:
            logger.warning("Reading commands failed", exc_info=True)
        if self._is_detached:
            self._requests.put(None)
        else:
            self.stop_everything()

    def _take(self, line: bytes) -> None:
        message = from_line(line)
        if message is None:
            logger.warning("Not a message: %r", line[:200])
        elif "kind" in message:
            self._requests.put(Request(_number(message), Job.from_dict(message)))
        elif message.get("command") == "stop":
            self._stopped.add(_number(message))
        elif message.get("command") == "detach":
            self._is_detached = True
        else:
            logger.warning("Not a command: %r", line[:200])


def _number(message: dict[str, Any]) -> int:
    number = message.get("id", 0)
    return number if isinstance(number, int) else 0
