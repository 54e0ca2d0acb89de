"""What this machine computes with."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_attnseg.jobs.contract import JOBS, Context, Event


@JOBS.register("device")
def device(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Return `describe_device`; takes no settings."""
    from napari_attnseg.inference import describe_device

    yield {"event": "progress", "done": 0, "total": 1, "text": "Looking at the machine"}
    return describe_device()
