"""What a network is, for those who choose.

Settings: those of `napari_attnseg.jobs.planned.planned_model`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.planned import planned_model


@JOBS.register("describe_model")
def describe_model(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Return `models.describe_model`, with patch, spacing and memory where a plan is known.

    ``model`` is the configuration with its sizes, which `measure_model` can be asked about.
    """
    from napari_attnseg.models import describe_model as describe

    yield {"event": "progress", "done": 0, "total": 1, "text": "Building the network"}
    config, plan = planned_model(settings, context)
    described = {**describe(config), "model": config.to_dict()}
    if plan is None:
        return described
    return {
        **described,
        "memory_bytes": plan.memory_bytes or None,
        "spacing_dhw": list(plan.spacing_dhw),
        "orientation": plan.orientation,
        "patch_size": list(plan.patch_size),
        "batch_size": plan.batch_size,
    }
