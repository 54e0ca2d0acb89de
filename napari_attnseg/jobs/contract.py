"""What a job is, the states it goes through, and what the code of one kind is given."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from napari_attnseg.jobs.cache import RunCache
from napari_attnseg.registry import Registry

Event = dict[str, Any]
"""What a job tells while it works; ``event`` names its kind, the rest is JSON."""


class State(StrEnum):
    """Where a job stands; the last four are final."""

    IDLE = "IDLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    DONE = "DONE"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    LOST = "LOST"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self in (State.DONE, State.STOPPED, State.FAILED, State.LOST)


@dataclass(frozen=True)
class Job:
    """Work to be done somewhere else.

    Args:
        kind: Name in `JOBS`, such as ``"train"``.
        settings: JSON-ready values, as the module of that kind describes them.
    """

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the job as JSON-ready values."""
        return {"kind": self.kind, "settings": self.settings}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Job:
        """Build from `to_dict`'s result."""
        settings = values.get("settings")
        return cls(str(values["kind"]), settings if isinstance(settings, dict) else {})


@dataclass(frozen=True)
class Context:
    """What the code of a job may use.

    Args:
        should_stop: Asked between steps; once true, the job gives back what it has.
        runs: Keeps the last trained run loaded from job to job.
        memory: What one job found out and another one may use again, by a key of its own.
    """

    should_stop: Callable[[], bool]
    runs: RunCache = field(default_factory=RunCache)
    memory: dict[tuple[Any, ...], Any] = field(default_factory=dict)


JobFunction = Callable[[dict[str, Any], Context], Generator[Event, None, Event]]
"""Yields events, returns the result; ``"state": "stopped"`` in that says it was cut short."""

JOBS: Registry[JobFunction] = Registry("kind of job", "napari_attnseg.jobs.kinds")
