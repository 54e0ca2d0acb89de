"""A job that was started, as the one who started it sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from napari_attnseg.jobs.contract import Event, Job, State
from napari_attnseg.jobs.sentences import Trouble

Listener = Callable[[Event], None]


class Handle:
    """State, result and failure of one job, and the way to stop it.

    Everything may be called from any thread. The listener is called on a thread of the job, or,
    for STOPPING, on that of the caller; it must bring what it shows to the window's thread itself.

    Args:
        job: What is to be done.
        on_event: Called with every event, state changes included.
    """

    def __init__(self, job: Job, on_event: Listener | None = None) -> None:
        self.job = job
        self.result: Event | None = None
        self.trouble: Trouble | None = None
        self._on_event = on_event
        self._state = State.IDLE
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._ask_to_stop: Callable[[], None] | None = None
        self._end_at_once: Callable[[], None] | None = None
        self._is_killed = False

    @property
    def state(self) -> State:
        """Where the job stands."""
        return self._state

    def stop(self) -> None:
        """Ask the job to give back what it has; returns at once, with the state STOPPING."""
        with self._lock:
            if self._state not in (State.STARTING, State.RUNNING):
                return
            ask = self._ask_to_stop
        self._enter(State.STOPPING)
        if ask is not None:
            ask()

    def kill(self) -> None:
        """End the job at once; only what it had already written is kept."""
        with self._lock:
            if self._state.is_final or self._state is State.IDLE:
                return
            self._is_killed = True
            end = self._end_at_once
        if end is not None:
            end()

    def wait(self, timeout: float | None = None) -> State:
        """Wait until the job has ended, or the seconds have passed; returns its state."""
        self._ended.wait(timeout)
        return self._state

    def begin(self, stop: Callable[[], None], kill: Callable[[], None]) -> None:
        """Enter STARTING; from now on ``stop`` and ``kill`` reach the work."""
        with self._lock:
            self._ask_to_stop, self._end_at_once = stop, kill
        self._enter(State.STARTING)

    def take(self, event: Event) -> None:
        """Take in an event from where the work is done."""
        kind = event["event"]
        if kind == "state":
            self._enter(_known_state(event.get("state")))
            return
        if kind == "result":
            self.result = {key: value for key, value in event.items() if key != "job"}
        elif kind == "error":
            self.trouble = _trouble(event)
        self._tell(event)

    def fail(self, trouble: Trouble, state: State = State.FAILED) -> None:
        """End with trouble that the work itself could not report."""
        if self._state.is_final:
            return
        if self._is_killed:
            self._enter(State.STOPPED)
            return
        self.trouble = trouble
        self._tell(dict(trouble.to_event()))
        self._enter(state)

    def _enter(self, state: State | None) -> None:
        with self._lock:
            if state is None or not _follows(self._state, state):
                return
            self._state = state
        self._tell({"event": "state", "state": str(state)})
        if state.is_final:
            self._ended.set()

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)


_ORDER = (State.IDLE, State.STARTING, State.RUNNING, State.STOPPING)


def _follows(old: State, new: State) -> bool:
    # A child says RUNNING when it gets round to it, perhaps after it was told to stop.
    if old.is_final:
        return False
    return new.is_final or _ORDER.index(new) > _ORDER.index(old)


def _known_state(name: Any) -> State | None:
    return State(name) if isinstance(name, str) and name in State.__members__ else None


def _trouble(event: Event) -> Trouble:
    words = (str(event.get(key) or "") for key in ("text", "next_step", "details"))
    return Trouble(*words)
