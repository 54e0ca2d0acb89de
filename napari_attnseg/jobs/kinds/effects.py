"""How much each attention module of a run matters to its result on a case.

Settings: ``run`` (folder), ``weights`` (best or last), ``input`` (``name`` and ``images``, file by
channel name), ``out`` (folder), ``settings`` (`PredictConfig`), ``overwrite``.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import require_new_files, require_writable
from napari_attnseg.jobs.prepared_cases import prepared_case
from napari_attnseg.jobs.reports import reported


@JOBS.register("effects")
def effects(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield progress and one ``effects`` event with the ranked modules, kept as JSON."""
    from napari_attnseg.explanation.effects import effect_steps
    from napari_attnseg.inference import write_json_atomic

    out, name = Path(settings["out"]), str(settings["input"]["name"])
    record = out / f"{name}_effects.json"
    require_writable(out)
    require_new_files([record], overwrite=bool(settings.get("overwrite", True)))
    yield {"event": "progress", "done": 0, "total": 0, "text": f"Reading {name}"}
    prepared = prepared_case(settings, context)
    steps = effect_steps(prepared, should_stop=context.should_stop)
    found = yield from reported(steps, f"Comparing attention in {name}")
    if found is None:
        return {"state": "stopped"}
    write_json_atomic(record, found)
    yield {"event": "effects", **found, "record": str(record)}
    return {"state": "done", "record": str(record)}
