"""Trains the networks of a comparison, each in a child of its own, one after another or beside."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from statistics import fmean
from typing import Any

from napari_attnseg.jobs.comparison import ComparisonFolder, Entry
from napari_attnseg.jobs.contract import Event, Job, State
from napari_attnseg.jobs.process import JobProcess
from napari_attnseg.jobs.sentences import Trouble

PATIENCE_SECONDS = 0.2
"""Longest time between two looks at whether someone asks to stop."""

ShouldStop = Callable[[], bool]


@dataclass
class _Training:
    """One network that is being trained, and how far it is, 0 to 1."""

    process: JobProcess
    done: float = 0.0
    seconds_left: float | None = None


class TrainingPool:
    """Trains what of a comparison is not trained yet.

    Args:
        folder: Of the comparison.
        dims: Dimensions of each backbone.
        parallel: Trainings at a time.
    """

    def __init__(self, folder: ComparisonFolder, dims: Mapping[str, int], parallel: int) -> None:
        self._folder, self._dims, self._parallel = folder, dims, parallel
        self._active: dict[Entry, _Training] = {}
        self._heard: SimpleQueue[tuple[Entry, Event]] = SimpleQueue()
        self._troubles: dict[Entry, Trouble] = {}
        self._finished = 0
        self._total = 0
        self._told_at = 0.0

    def run(
        self, entries: Sequence[Entry], should_stop: ShouldStop
    ) -> Generator[Event, None, dict[Entry, Trouble]]:
        """Yield progress, and a ``trial`` event for each network that has ended.

        A network that fails is left, and the others go on.

        Returns:
            What went wrong, by entry.
        """
        waiting = deque(one for one in entries if self._folder.result(one) is None)
        self._finished, self._total = len(entries) - len(waiting), len(entries)
        try:
            while waiting or self._active:
                if should_stop():
                    waiting.clear()
                    self._stop()
                self._fill(waiting)
                yield from self._listen(waiting)
        finally:
            for one in self._active.values():
                one.process.hang_up()
        return self._troubles

    def _fill(self, waiting: deque[Entry]) -> None:
        while waiting and len(self._active) < self._parallel and self._has_plan(waiting[0]):
            entry = waiting.popleft()
            job = Job("train", self._folder.settings(entry, self._dims[entry.backbone]))
            process = JobProcess(job, self._listener(entry), log_path=self._folder.log_path(entry))
            self._active[entry] = _Training(process)
            process.start()

    def _has_plan(self, entry: Entry) -> bool:
        """Return whether an entry can begin: the first one makes the plan for the others."""
        dims = self._dims[entry.backbone]
        is_first = all(self._dims[one.backbone] != dims for one in self._active)
        return is_first or self._folder.plan(dims) is not None

    def _listener(self, entry: Entry) -> Callable[[Event], None]:
        return lambda event: self._heard.put((entry, event))

    def _stop(self) -> None:
        for one in self._active.values():
            one.process.stop()

    def _listen(self, waiting: Sequence[Entry]) -> Generator[Event, None, None]:
        try:
            entry, event = self._heard.get(timeout=PATIENCE_SECONDS)
        except Empty:
            return
        training = self._active.get(entry)
        if training is None:
            return
        if event["event"] == "state" and State(event["state"]).is_final:
            yield self._ended(entry, training)
        elif event["event"] == "step":
            training.done = float(event.get("progress") or 0.0)
            training.seconds_left = event.get("eta_seconds")
        if event["event"] in ("state", "step") or self._is_time_to_tell():
            self._told_at = time.monotonic()
            yield self._progress(waiting)

    def _is_time_to_tell(self) -> bool:
        return time.monotonic() - self._told_at > PATIENCE_SECONDS

    def _ended(self, entry: Entry, training: _Training) -> Event:
        process = self._active.pop(entry).process
        result = self._folder.result(entry) or {}
        if process.trouble is not None:
            self._troubles[entry] = process.trouble
        if result:
            self._finished += 1
            self._folder.log_path(entry).unlink(missing_ok=True)
        means = (result.get("validation") or {}).get("mean") or {}
        known = [one for one in means.values() if one is not None]
        return {
            "event": "trial",
            "title": entry.title,
            "state": str(process.state),
            "text": process.trouble.text if process.trouble else "",
            "dice": fmean(known) if known else None,
            "steps": result.get("steps"),
            "seconds": result.get("seconds"),
            "done": self._finished,
            "total": self._total,
        }

    def _progress(self, waiting: Sequence[Entry]) -> Event:
        active = list(self._active)
        title = "; ".join(one.title for one in active) or "Comparing"
        return {
            "event": "progress",
            "done": self._finished + sum(one.done for one in self._active.values()),
            "total": self._total,
            "text": f"{min(self._total, self._finished + 1)} of {self._total}: {title}",
            "eta_seconds": self._seconds_left(waiting),
        }

    def _seconds_left(self, waiting: Sequence[Entry]) -> float | None:
        """Return about how long the rest takes, from what trainings of its kind have taken."""
        here = [one.seconds_left for one in self._active.values() if one.seconds_left is not None]
        known = self._known_seconds()
        if not known and not here:
            return None
        usual = fmean(fmean(one) for one in known.values()) if known else fmean(here)
        rest = sum(fmean(known.get(one.backbone) or [usual]) for one in waiting)
        return max(here, default=0.0) + rest / self._parallel

    def _known_seconds(self) -> dict[str, list[float]]:
        known: dict[str, list[float]] = {}
        for entry in self._folder.entries():
            result: dict[str, Any] | None = self._folder.result(entry)
            if result is not None:
                known.setdefault(entry.backbone, []).append(float(result["seconds"]))
        return known
