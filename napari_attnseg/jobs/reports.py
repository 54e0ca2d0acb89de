"""Progress of long work as events, with the time that is left."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from napari_attnseg.jobs.contract import Event

if TYPE_CHECKING:
    from napari_attnseg.inference import WindowReport


class Clock:
    """Tells how long work will still take, from how long it took so far."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def event(self, done: float, total: float, text: str) -> Event:
        """Return the progress when so much of the whole is done."""
        seconds = time.monotonic() - self._start
        return {
            "event": "progress",
            "done": done,
            "total": total,
            "text": text,
            "eta_seconds": seconds / done * (total - done) if done > 0 else None,
        }


def reported(steps: Generator[WindowReport, None, Any], text: str) -> Generator[Event, None, Any]:
    """Turn the reports of windows into events; returns what the steps return."""
    clock = Clock()
    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            return end.value
        yield clock.event(report.done, report.total, text)
