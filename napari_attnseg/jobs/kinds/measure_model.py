"""What a network costs on this machine, measured once and remembered.

Settings: those of `napari_attnseg.jobs.planned.planned_model`; ``patch_size`` and ``batch_size``
instead of the plan's; ``device``; ``cache``, the folder of what was measured before; and
``only_known``, to ask for nothing new.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg import __version__
from napari_attnseg.io import atomic_write
from napari_attnseg.jobs.comparison import read_json
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.planned import planned_model

if TYPE_CHECKING:
    from napari_attnseg.config import ModelConfig

DEFAULT_PATCH = {3: (64, 64, 64), 2: (1, 256, 256)}
DEFAULT_BATCH = {3: 2, 2: 8}
NO_PLAN = (
    "The plan sizes this network from labelled cases, of which there are none yet; label a case, "
    "or choose another size, to see what it costs."
)


@JOBS.register("measure_model")
def measure_model(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Return the network's `napari_attnseg.training.cost.Cost`, and where it was ``measured_on``.

    On a CPU memory is that of the process, so this job should have one of its own.
    """
    yield {"event": "progress", "done": 0, "total": 0, "text": "Measuring the network"}
    from napari_attnseg.inference import choose_device
    from napari_attnseg.training.cost import measure_cost

    config, plan = planned_model(settings, context)
    if plan is None and config.preset == "plan" and not config.options:
        return {"note": NO_PLAN}
    patch = settings.get("patch_size") or (plan and plan.patch_size) or DEFAULT_PATCH[config.dims]
    batch = settings.get("batch_size") or (plan and plan.batch_size) or DEFAULT_BATCH[config.dims]
    device = choose_device(settings.get("device") or "auto")
    key = _key(config, patch, int(batch), _machine(str(device)))
    path = _cache(settings) / f"{key}.json"
    known = read_json(path)
    if known is not None or settings.get("only_known"):
        return known or {"note": ""}
    steps = measure_cost(config, patch, int(batch), device, context.should_stop)
    while True:
        try:
            text = next(steps)
        except StopIteration as end:
            cost = end.value
            break
        yield {"event": "progress", "done": 0, "total": 0, "text": text}
    found = {**cost.to_json(), "measured_on": _machine(str(device))["name"]}
    if context.should_stop():
        return {**found, "state": "stopped"}
    with atomic_write(path) as file:
        file.write(json.dumps(found, indent=1).encode())
    return found


def _machine(device: str) -> dict[str, Any]:
    """Return what the cost depends on beside the network."""
    import torch

    from napari_attnseg.inference import choose_precision, describe_device

    facts = describe_device()
    return {
        "name": facts["cpu"] if device == "cpu" else facts["name"],
        "device": device,
        "threads": torch.get_num_threads(),
        "precision": choose_precision(torch.device(device)),
        "torch": torch.__version__,
        "version": __version__,
    }


def _key(config: ModelConfig, patch: Any, batch: int, machine: dict[str, Any]) -> str:
    facts = {"model": config.to_dict(), "patch": list(patch), "batch": batch, **machine}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _cache(settings: dict[str, Any]) -> Path:
    import pooch

    return Path(settings.get("cache") or Path(pooch.os_cache("napari-attnseg")) / "costs")
