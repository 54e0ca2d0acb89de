"""One job in a child process of its own, as training needs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_attnseg.jobs.connection import Connection
from napari_attnseg.jobs.contract import Event, Job, State
from napari_attnseg.jobs.handle import Handle, Listener
from napari_attnseg.jobs.sentences import explain_death, explain_error


class JobProcess(Handle):
    """A job with a child of its own; nothing happens before `start`.

    Args:
        job: What is to be done.
        on_event: Called on another thread with every event, state changes included.
        load: Modules that the child imports first, for kinds of jobs from elsewhere.
        log_path: File for what the child logs; a temporary one by default.
    """

    def __init__(
        self,
        job: Job,
        on_event: Listener | None = None,
        *,
        load: Sequence[str] = (),
        log_path: Path | None = None,
    ) -> None:
        super().__init__(job, on_event)
        self._load = tuple(load)
        self._log_path = log_path
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Number of the child, once it has started."""
        return self._connection.pid if self._connection else None

    @property
    def log_path(self) -> Path | None:
        """Where the child logs, once it has started."""
        return self._connection.log_path if self._connection else self._log_path

    def start(self) -> JobProcess:
        """Start the child; returns at once."""
        self.begin(self._send_stop, self._kill)
        arguments = [word for name in self._load for word in ("--load", name)]
        try:
            connection = Connection(
                arguments, on_event=self._hear, on_exit=self._exited, log_path=self._log_path
            )
        except OSError as error:
            self.fail(explain_error(error, self.job.kind))
            return self
        self._connection = connection
        connection.send(self.job.to_dict())
        if self.state is State.STOPPING:
            self._send_stop()
        return self

    def detach(self) -> None:
        """Let the job go on when this process ends; otherwise it would stop and keep."""
        if self._connection is not None:
            self._connection.send({"command": "detach"})

    def hang_up(self) -> None:
        """Leave the job; unless detached, it stops, keeps what it has, and ends."""
        if self._connection is not None:
            self._connection.hang_up()

    def _hear(self, event: Event) -> None:
        self.take({key: value for key, value in event.items() if key != "job"})

    def _exited(self, returncode: int) -> None:
        tail = self._connection.log_tail() if self._connection else ""
        self.fail(explain_death(returncode, self.job.kind, tail), State.LOST)

    def _send_stop(self) -> None:
        if self._connection is not None:
            self._connection.send({"command": "stop"})

    def _kill(self) -> None:
        if self._connection is not None:
            self._connection.kill()
