"""Jobs on the machines of a Dask cluster, one task an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_attnseg.cli.display import Display
from napari_attnseg.jobs import JOBS, Context, Event
from napari_attnseg.jobs.inputs import JobError, require_different_names


def run_on_cluster(
    address: str, settings: dict[str, Any], on_event: Callable[[Event], None]
) -> Event:
    """Predict every input as a task of its own; returns the result of all.

    The cluster's machines must see the same files under the same paths, and have this program.

    Args:
        address: Of the scheduler, such as ``"tcp://10.0.0.1:8786"``.
        settings: Of the predict job.
        on_event: Called with the events of each input when it is done.

    Raises:
        JobError: If dask.distributed is not installed, or the scheduler does not answer.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise JobError(
            'The library distributed is not installed: pip install "napari-attnseg[cluster]".'
        ) from error
    inputs = settings["inputs"]
    require_different_names(inputs)
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise JobError(f"No Dask scheduler answers at {address!r}: {error}") from error
    with client, Display("Segmenting on the cluster") as bar:
        tasks = [
            client.submit(predict_one, {**settings, "inputs": [one]}, pure=False) for one in inputs
        ]
        for done, task in enumerate(as_completed(tasks), start=1):
            for event in task.result():
                bar.show(event)
                on_event(event)
            bar.show({"event": "progress", "done": done, "total": len(tasks)})
    return {"cases": len(inputs), "state": "done", "out": settings["out"]}


def predict_one(settings: dict[str, Any]) -> list[Event]:
    """Do a predict job to its end, on a machine of the cluster; returns its events."""
    steps = JOBS["predict"](settings, Context(should_stop=lambda: False))
    return [event for event in steps if event["event"] in ("case", "warning")]
