"""Jobs as the window sees them: one line each, with state, progress and time left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from psygnal import Signal

from napari_attnseg.session.background import Deliver
from napari_attnseg.session.problem import Problem

Event = dict[str, Any]
ENDED = ("DONE", "STOPPED", "FAILED", "LOST")


class Handle(Protocol):
    """A job that was started."""

    def stop(self) -> None:
        """Ask it to give back what it has; returns at once."""


class Runner(Protocol):
    """Starts jobs somewhere else: in child processes, or in a test."""

    def start(self, kind: str, settings: dict[str, Any], on_event: Callable[[Event], None]) -> Any:
        """Start a job and return its `Handle`; events may come from any thread."""

    def close(self) -> None:
        """End what is still running, as the window closes."""

    def detach(self) -> None:
        """Let training go on after the window has closed."""


@dataclass(eq=False)
class Work:
    """One job and what is known of it.

    Args:
        kind: Kind of the job, such as ``"train"``.
        title: What a person calls it, such as ``"Segmenting case_004"``.
        quiet: Whether it is too small for a line of its own.
    """

    kind: str
    title: str
    quiet: bool = False
    state: str = "STARTING"
    text: str = ""
    fraction: float | None = None
    eta_seconds: float | None = None
    problem: Problem | None = None
    result: Event | None = None
    handle: Any = None
    on_event: Callable[[Work, Event], None] | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether no more events can come."""
        return self.state in ENDED

    @property
    def can_stop(self) -> bool:
        """Whether a stop would still change anything."""
        return self.state in ("STARTING", "RUNNING")


class WorkList:
    """Every job that this window started, newest last."""

    changed = Signal(object)
    ended = Signal(object)

    def __init__(self, runner: Runner, deliver: Deliver) -> None:
        self._runner = runner
        self._deliver = deliver
        self.lines: list[Work] = []

    def start(
        self,
        kind: str,
        settings: dict[str, Any],
        title: str,
        *,
        on_event: Callable[[Work, Event], None] | None = None,
        quiet: bool = False,
    ) -> Work:
        """Start a job; its events come back through ``on_event`` where they may be shown."""
        work = Work(kind, title, quiet, on_event=on_event)
        self.lines.append(work)
        self.changed.emit(work)
        try:
            work.handle = self._runner.start(
                kind, settings, lambda event: self._deliver(lambda: self._take(work, event))
            )
        except OSError as error:
            self._take(work, {"event": "error", "text": f"The job could not start: {error}"})
            self._take(work, {"event": "state", "state": "FAILED"})
        return work

    def stop(self, work: Work) -> None:
        """Ask a job to stop; its line says so at once."""
        if not work.can_stop or work.handle is None:
            return
        work.state = "STOPPING"
        self.changed.emit(work)
        work.handle.stop()

    def dismiss(self, work: Work) -> None:
        """Take the line of an ended job away."""
        if work.has_ended and work in self.lines:
            self.lines.remove(work)
            self.changed.emit(work)

    def running(self, kind: str) -> Work | None:
        """Return the newest job of a kind that has not ended, or None."""
        return next((w for w in reversed(self.lines) if w.kind == kind and not w.has_ended), None)

    def detach(self) -> None:
        """Let training go on after the window has closed."""
        self._runner.detach()

    def close(self) -> None:
        """End what still runs, as the window closes."""
        self._runner.close()

    def _take(self, work: Work, event: Event) -> None:
        work.events = [*work.events[-50:], event]
        _note(work, event)
        if work.on_event is not None:
            work.on_event(work, event)
        self.changed.emit(work)
        if event["event"] == "state" and work.has_ended:
            self.ended.emit(work)


def _note(work: Work, event: Event) -> None:
    kind = event["event"]
    if kind == "state":
        _note_state(work, event["state"])
    elif kind == "progress":
        total = event.get("total") or 0
        work.fraction = event.get("done", 0) / total if total else None
        work.text = event.get("text") or work.text
        work.eta_seconds = event.get("eta_seconds")
    elif kind == "step":
        work.fraction = event.get("progress")
        work.eta_seconds = event.get("eta_seconds")
        work.text = f"epoch {event.get('epoch', 0)}, loss {event.get('loss', float('nan')):.3f}"
    elif kind == "result":
        work.result = event
    elif kind == "error":
        step = event.get("next_step") or ""
        text = f"{event.get('text', 'The job failed.')} {step}".strip()
        work.problem = Problem(text, event.get("details") or "")


def _note_state(work: Work, state: str) -> None:
    # A child says RUNNING when it gets round to it; a person has asked it to stop before that.
    if work.state == "STOPPING" and state in ("STARTING", "RUNNING"):
        return
    work.state = state
    if state in ENDED:
        work.eta_seconds = None
