"""How far a map can be trusted.

Settings: ``run`` (folder), ``weights`` (best or last), ``input`` (``name`` and ``images``, file by
channel name), ``map`` (a map that was written with its record beside it), ``form`` (quick or
full), ``measures`` (names, instead of those of the form), ``seed``, ``settings``
(`PredictConfig`), ``overwrite``.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.config import PredictConfig
from napari_attnseg.io import read_volume
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import require_new_files, require_writable
from napari_attnseg.jobs.map_files import bare_name, map_record
from napari_attnseg.jobs.prepared_cases import read_case
from napari_attnseg.jobs.reports import Clock

if TYPE_CHECKING:
    from napari_attnseg.explanation.check import Measured
    from napari_attnseg.inference import WindowReport


@JOBS.register("check")
def check(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield progress and a ``measure`` event for each result; returns record and verdict."""
    from napari_attnseg.explanation.check import CheckConfig, check_steps
    from napari_attnseg.inference import write_json_atomic

    file = Path(settings["map"])
    given = {key: settings[key] for key in ("form", "measures", "seed") if settings.get(key)}
    config = CheckConfig.from_dict(given)
    config.names()
    record, info = check_record(file), map_record(file)
    require_new_files([record], overwrite=bool(settings.get("overwrite", True)))
    require_writable(record.parent)
    predict = PredictConfig.from_dict(settings.get("settings") or {})
    name = str(settings["input"]["name"])
    yield {"event": "progress", "done": 0, "total": 0, "text": f"Reading {name}"}
    weights = settings.get("weights") or "best"
    run = context.runs.load(settings["run"], weights=weights, device=predict.device)
    image, heat = read_case(settings["input"]), read_volume(file)
    steps = check_steps(
        run, image, heat, info, config=config, settings=predict, should_stop=context.should_stop
    )
    found = yield from _reported(steps, name)
    write_json_atomic(record, {"map": file.name, **found})
    kept = ("state", "verdict", "flags", "score", "seconds")
    return {"record": str(record), **{key: found[key] for key in kept}}


def check_record(map_file: Path) -> Path:
    """Return where the results of checking a map are kept."""
    return map_file.with_name(f"{bare_name(map_file)}_check.json")


def _reported(
    steps: Generator[WindowReport | Measured, None, dict[str, Any]], name: str
) -> Generator[Event, None, dict[str, Any]]:
    from napari_attnseg.explanation.check import Measured

    clock = Clock()
    while True:
        try:
            one = next(steps)
        except StopIteration as end:
            found: dict[str, Any] = end.value
            return found
        if isinstance(one, Measured):
            yield {"event": "measure", "name": one.name, "result": one.result}
        else:
            yield clock.event(one.done, one.total, f"Checking {name}: {one.text}")
