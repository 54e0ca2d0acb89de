"""The feature behind one channel of an attention module.

Settings: ``run`` (folder), ``weights`` (best or last), ``input`` (``name`` and ``images``, file by
channel name), ``out`` (folder), ``name`` (of a recorded map, such as ``encoder0.se.channel``),
``channel`` (counted from 0), ``settings`` (`PredictConfig`), ``overwrite``.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from napari_attnseg.io import write_volume
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import require_new_files, require_writable
from napari_attnseg.jobs.prepared_cases import prepared_case
from napari_attnseg.jobs.reports import reported


@JOBS.register("channel")
def channel(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield progress and a ``map`` event with the feature; returns how many maps there are."""
    from napari_attnseg.explanation.features import feature_steps
    from napari_attnseg.inference import write_json_atomic

    out, name = Path(settings["out"]), str(settings["input"]["name"])
    stem = f"{name}_feature_{settings['name']}_{int(settings['channel'])}"
    file, record = out / f"{stem}.nii.gz", out / f"{stem}.json"
    require_writable(out)
    require_new_files([file, record], overwrite=bool(settings.get("overwrite", True)))
    yield {"event": "progress", "done": 0, "total": 0, "text": f"Reading {name}"}
    steps = feature_steps(
        prepared_case(settings, context),
        str(settings["name"]),
        int(settings["channel"]),
        should_stop=context.should_stop,
    )
    found = yield from reported(steps, f"Showing channel {settings['channel']} of {name}")
    if found is None:
        return {"maps": 0, "state": "stopped"}
    write_volume(file, found.map)
    write_json_atomic(record, {**found.info, "map": file.name})
    yield {"event": "map", "path": str(file), "info": {**found.info, "record": str(record)}}
    return {"maps": 1, "state": "done"}
