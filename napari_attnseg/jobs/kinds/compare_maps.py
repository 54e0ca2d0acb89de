"""The difference of two maps of one case: of two networks, weights, methods or layers.

Settings: ``first`` and ``second`` (maps with their records beside them), ``out`` (folder),
``name`` (of the result), ``overwrite``.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import require_new_files, require_writable
from napari_attnseg.jobs.map_files import map_record


@JOBS.register("compare_maps")
def compare_maps(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield a ``map`` event with the second map less the first."""
    from napari_attnseg.explanation.difference import difference
    from napari_attnseg.inference import write_json_atomic

    files = [Path(settings[which]) for which in ("first", "second")]
    out = Path(settings["out"])
    stem = f"{settings['name']}_difference"
    file, record = out / f"{stem}.nii.gz", out / f"{stem}.json"
    require_writable(out)
    require_new_files([file, record], overwrite=bool(settings.get("overwrite", True)))
    yield {"event": "progress", "done": 0, "total": 1, "text": "Comparing maps"}
    first, second = (map_record(one) for one in files)
    found = difference(read_volume(files[0]), read_volume(files[1]), (first, second))
    write_volume(file, found.map)
    write_json_atomic(record, {**found.info, "map": file.name})
    yield {"event": "map", "path": str(file), "info": {**found.info, "record": str(record)}}
    return {"maps": 1, "state": "done"}
