"""What a clicked place attends to, and what attends to it.

Settings: ``run`` (folder), ``weights`` (best or last), ``input`` (``name`` and ``images``, file by
channel name), ``out`` (folder), ``at`` (world RAS mm), ``name`` (of a position map; the first if
None), ``direction`` (row, column or both), ``settings`` (`PredictConfig`), ``overwrite``.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.io import write_volume
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import JobError, require_new_files, require_writable
from napari_attnseg.jobs.prepared_cases import prepared_case

if TYPE_CHECKING:
    from napari_attnseg.explanation.attend import Glance
    from napari_attnseg.explanation.prepared import Prepared

_KEY = ("window of a click",)


@JOBS.register("attend")
def attend(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield progress and a ``map`` event for each direction; returns how many maps there are.

    Queries and keys of the last window are kept, so that the next click in it is answered at once.
    """
    from napari_attnseg.explanation.attend import attended, window_of
    from napari_attnseg.inference import write_json_atomic

    out, name = Path(settings["out"]), str(settings["input"]["name"])
    asked = settings.get("direction") or "row"
    directions = ["row", "column"] if asked == "both" else [asked]
    at = [float(mm) for mm in settings["at"]]
    if len(at) != 3:
        raise JobError(f"A place has three coordinates in mm; found {len(at)}.")
    require_writable(out)
    yield {"event": "progress", "done": 0, "total": 1 + len(directions), "text": f"Reading {name}"}
    prepared = prepared_case(settings, context)
    seen = _glance(prepared, window_of(prepared, at), context)
    for done, direction in enumerate(directions, start=1):
        if context.should_stop():
            return {"maps": done - 1, "state": "stopped"}
        found = attended(prepared, seen, at, settings.get("name"), direction)
        # The place is not part of the name: each click replaces the one before.
        stem = f"{name}_attends_{direction}_{found.info['name']}"
        file, record = out / f"{stem}.nii.gz", out / f"{stem}.json"
        require_new_files([file, record], overwrite=bool(settings.get("overwrite", True)))
        write_volume(file, found.map)
        write_json_atomic(record, {**found.info, "map": file.name})
        yield {"event": "map", "path": str(file), "info": {**found.info, "record": str(record)}}
    return {"maps": len(directions), "state": "done"}


def _glance(prepared: Prepared, start: tuple[int, int, int], context: Context) -> Glance:
    from napari_attnseg.explanation.attend import glance

    # The tensor itself is part of the key: it is another one as soon as anything has changed.
    kept_x, kept = context.memory.get(_KEY, (None, None))
    if kept is None or kept_x is not prepared.x or kept.start != start:
        context.memory.pop(_KEY, None)
        kept = glance(prepared, start)
        context.memory[_KEY] = (prepared.x, kept)
    found: Glance = kept
    return found
