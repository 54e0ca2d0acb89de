"""Chooses where a job runs: training in a child of its own, the rest in one that stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_attnseg.jobs.contract import Event, Job
from napari_attnseg.jobs.handle import Handle
from napari_attnseg.jobs.process import JobProcess
from napari_attnseg.jobs.worker import Worker

OWN_CHILD = ("train", "compare", "measure_model")
"""Kinds that would make everything else wait, whose memory must come back when they end, or is to
be measured."""


class Runner:
    """Starts jobs of any kind for one window.

    Args:
        load: Modules that the children import first, for kinds of jobs from elsewhere.
    """

    def __init__(self, *, load: Sequence[str] = ()) -> None:
        self._load = tuple(load)
        self._worker = Worker(load=load)
        self._processes: list[JobProcess] = []

    def start(
        self, kind: str, settings: dict[str, Any], on_event: Callable[[Event], None] | None = None
    ) -> Handle:
        """Start a job; events may come from any thread."""
        job = Job(kind, settings)
        if kind not in OWN_CHILD:
            return self._worker.submit(job, on_event)
        self._processes = [one for one in self._processes if not one.state.is_final]
        process = JobProcess(job, on_event, load=self._load)
        self._processes.append(process)
        process.start()
        return process

    def detach(self) -> None:
        """Let training go on after this program has ended."""
        for process in self._processes:
            process.detach()

    def close(self) -> None:
        """End as the window closes: what was not detached stops and keeps what it has."""
        self._worker.close()
        for process in self._processes:
            process.hang_up()
