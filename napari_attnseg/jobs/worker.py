"""A child that stays: many short jobs, one after another, with the model kept loaded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_attnseg.jobs.connection import Connection
from napari_attnseg.jobs.contract import Event, Job, State
from napari_attnseg.jobs.handle import Handle, Listener
from napari_attnseg.jobs.sentences import Trouble, explain_death, explain_error


@dataclass
class _Turn:
    """A job's number, its handle, and how often it was given to a child."""

    id: int
    handle: Handle
    attempts: int = 0


class Worker:
    """Does jobs in the order in which they were submitted, in one child.

    The child starts with the first job. If it dies, the job it was at is LOST and the next one
    gets a new child.

    Args:
        load: Modules that the child imports first, for kinds of jobs from elsewhere.
        log_path: File for what the child logs; a temporary one by default.
    """

    def __init__(self, *, load: Sequence[str] = (), log_path: Path | None = None) -> None:
        self._arguments = ["--serve", *(word for name in load for word in ("--load", name))]
        self._log_path = log_path
        self._lock = threading.RLock()
        self._waiting: deque[_Turn] = deque()
        self._current: _Turn | None = None
        self._connection: Connection | None = None
        self._count = 0
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """Number of the child, while there is one."""
        connection = self._connection
        return connection.pid if connection else None

    def submit(self, job: Job, on_event: Listener | None = None) -> Handle:
        """Queue a job; returns at once.

        Args:
            job: What is to be done.
            on_event: Called on another thread with every event, state changes included.
        """
        handle = Handle(job, on_event)
        with self._lock:
            self._count += 1
            turn = _Turn(self._count, handle)
            self._waiting.append(turn)
        handle.begin(lambda: self._stop(turn), lambda: self._kill(turn))
        self._advance()
        return handle

    def close(self) -> None:
        """Take no more jobs; the child stops, and ends by itself."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = list(self._waiting), deque()
            connection = self._connection
        for turn in waiting:
            turn.handle.take({"event": "state", "state": State.STOPPED})
        if connection is not None:
            connection.hang_up()

    def _advance(self) -> None:
        with self._lock:
            if self._current is not None or not self._waiting:
                return
            turn = self._current = self._waiting.popleft()
            turn.attempts += 1
            connection = self._connection
        if self._is_closed:
            self._end(turn, _CLOSED)
            return
        try:
            connection = connection or self._connect()
        except OSError as error:
            self._end(turn, explain_error(error, turn.handle.job.kind))
            return
        connection.send({"id": turn.id, **turn.handle.job.to_dict()})
        if turn.handle.state is State.STOPPING:
            connection.send({"command": "stop", "id": turn.id})

    def _connect(self) -> Connection:
        with self._lock:
            self._connection = Connection(
                self._arguments,
                on_event=self._hear,
                on_exit=self._exited,
                log_path=self._log_path,
            )
            return self._connection

    def _end(self, turn: _Turn, trouble: Trouble) -> None:
        with self._lock:
            self._current = None
        turn.handle.fail(trouble)
        self._advance()

    def _hear(self, event: Event) -> None:
        turn = self._current
        if turn is None or event.pop("job", None) != turn.id:
            return
        if event["event"] == "state" and State(event["state"]).is_final:
            with self._lock:
                self._current = None
        turn.handle.take(event)
        self._advance()

    def _exited(self, returncode: int) -> None:
        with self._lock:
            turn, self._current = self._current, None
            connection, self._connection = self._connection, None
            if turn is not None and _never_ran(turn):
                # The child had died between two jobs, which shows only when one is sent.
                self._waiting.appendleft(turn)
                turn = None
        if turn is not None:
            tail = connection.log_tail() if connection else ""
            trouble = explain_death(returncode, turn.handle.job.kind, tail)
            turn.handle.fail(trouble, State.LOST)
        self._advance()

    def _stop(self, turn: _Turn) -> None:
        with self._lock:
            is_waiting = turn in self._waiting
            if is_waiting:
                self._waiting.remove(turn)
        if is_waiting:
            turn.handle.take({"event": "state", "state": State.STOPPED})
        elif self._connection is not None:
            self._connection.send({"command": "stop", "id": turn.id})

    def _kill(self, turn: _Turn) -> None:
        with self._lock:
            is_current = turn is self._current
        if is_current and self._connection is not None:
            self._connection.kill()
        elif not is_current:
            self._stop(turn)


def _never_ran(turn: _Turn) -> bool:
    return turn.handle.state is State.STARTING and turn.attempts < 2


_CLOSED = Trouble("The program is closing, so this was not started.", "Start it again later.")
