"""The networks that can be built."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_attnseg.jobs.contract import JOBS, Context, Event


@JOBS.register("models")
def models(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Return `list_models`; takes no settings."""
    from napari_attnseg.models import list_models

    yield {"event": "progress", "done": 0, "total": 1, "text": "Reading the networks"}
    return list_models()
