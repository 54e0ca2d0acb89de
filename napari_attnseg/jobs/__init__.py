"""Jobs: long work in a child process, seen from the window or the command line.

A `Job` is JSON. `JobProcess` gives one a child of its own, `Worker` keeps one child for many, so
that a loaded model serves the next job too, and `Runner` chooses between them. Nothing here loads
torch: only the child does, in the modules of ``kinds/``.
"""

from __future__ import annotations

from napari_attnseg.jobs.contract import JOBS, Context, Event, Job, State
from napari_attnseg.jobs.handle import Handle
from napari_attnseg.jobs.process import JobProcess
from napari_attnseg.jobs.runner import Runner
from napari_attnseg.jobs.sentences import Trouble, explain_error
from napari_attnseg.jobs.worker import Worker

__all__ = [
    "JOBS",
    "Context",
    "Event",
    "Handle",
    "Job",
    "JobProcess",
    "Runner",
    "State",
    "Trouble",
    "Worker",
    "explain_error",
]
