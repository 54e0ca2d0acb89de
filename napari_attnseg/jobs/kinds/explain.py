"""Maps of what a run looked at in a case.

Settings: ``run`` (folder), ``weights`` (best or last), ``input`` (``name``, ``images``, file by
channel name, and ``resample``), ``out`` (folder), ``target`` (class value, or the JSON form of a
`TargetSpec`, or None), ``method``, ``layer`` (or None), ``options`` (of the method),
``attention`` (whether to record attention too), ``settings`` (`PredictConfig`), ``overwrite``.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.config import PredictConfig
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import (
    JobError,
    read_on_one_grid,
    require_new_files,
    require_writable,
    told_resampled,
)

if TYPE_CHECKING:
    from napari_attnseg.explanation import AttentionResult, Explanation
    from napari_attnseg.inference import Run, WindowReport
    from napari_attnseg.volume import Volume


@JOBS.register("explain")
def explain(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield progress and a ``map`` event for each result; returns how many maps there are."""
    config = PredictConfig.from_dict(settings.get("settings") or {})
    name, target = str(settings["input"]["name"]), settings.get("target")
    if target is None and not settings.get("attention"):
        raise JobError("Say which class to explain, or ask for attention.")
    require_writable(Path(settings["out"]))
    yield {"event": "progress", "done": 0, "total": 0, "text": f"Reading {name}"}
    weights = settings.get("weights") or "best"
    run = context.runs.load(settings["run"], weights=weights, device=config.device)
    require_new_files(_files(run, settings), overwrite=_may_overwrite(settings))
    given = settings["input"]
    image, moved = read_on_one_grid(given["images"], resample=bool(given.get("resample")))
    settings = {**settings, "resampled": moved}
    counts: list[int | None] = []
    if target is not None:
        counts.append((yield from _map(run, image, settings, config, context)))
    if settings.get("attention") and None not in counts:
        counts.append((yield from _attention(run, image, settings, config, context)))
    state = "stopped" if None in counts else "done"
    return {"maps": sum(one or 0 for one in counts), "state": state}


def _files(run: Run, settings: dict[str, Any]) -> list[Path]:
    """Return the files that tell whether these results were written before.

    Raises:
        ExplainError: If target, method, layer or an option cannot be used, so that it is said
            before any work is done.
    """
    from napari_attnseg.explanation import TargetSpec, attention_record, map_files
    from napari_attnseg.explanation.catalogue import DEFAULT_METHOD, make_method
    from napari_attnseg.explanation.explain import map_tag

    out, name = settings["out"], str(settings["input"]["name"])
    files: list[Path] = []
    if settings.get("target") is not None:
        spec = TargetSpec.of(settings["target"])
        how = make_method(settings.get("method"), settings.get("options"))
        run.class_index(spec.value)
        layer = how.layer_for(run.model, settings.get("layer"))
        method = settings.get("method") or DEFAULT_METHOD
        files += map_files(out, name, method, spec.value, layer, map_tag(spec, how))
    if settings.get("attention"):
        files.append(attention_record(out, name))
    return files


def _map(
    run: Run, image: Volume, settings: dict[str, Any], config: PredictConfig, context: Context
) -> Generator[Event, None, int | None]:
    """Write a map; returns how many there are, None if stopped."""
    from napari_attnseg.explanation import explain_steps, write_explanation
    from napari_attnseg.explanation.catalogue import DEFAULT_METHOD

    name = str(settings["input"]["name"])
    steps = explain_steps(
        run,
        image,
        settings["target"],
        settings.get("method") or DEFAULT_METHOD,
        settings.get("layer"),
        options=settings.get("options"),
        settings=config,
        should_stop=context.should_stop,
    )
    found: Explanation | None = yield from _reported(steps, f"Explaining {name}")
    if found is None:
        return None
    if settings["resampled"]:
        found.info["resampled"] = settings["resampled"]
        found.info["warnings"] += told_resampled(settings["resampled"])
    for text in found.info.get("warnings", ()):
        yield {"event": "warning", "text": f"{name}: {text}"}
    written, record = write_explanation(
        settings["out"], name, found, overwrite=_may_overwrite(settings)
    )
    path = str(written) if written else None
    yield {"event": "map", "path": path, "info": {**found.info, "record": str(record)}}
    return int(written is not None)


def _attention(
    run: Run, image: Volume, settings: dict[str, Any], config: PredictConfig, context: Context
) -> Generator[Event, None, int | None]:
    """Write what attention did; returns how many volumes there are, None if stopped."""
    from napari_attnseg.explanation import attention_steps

    name = str(settings["input"]["name"])
    steps = attention_steps(run, image, settings=config, should_stop=context.should_stop)
    recorded: AttentionResult | None
    recorded = yield from _reported(steps, f"Recording attention in {name}")
    if recorded is None:
        return None
    if settings["resampled"]:
        recorded.info["resampled"] = settings["resampled"]
    yield _write_attention(settings, name, recorded)
    return len(recorded.volumes)


def _reported(steps: Generator[WindowReport, None, Any], text: str) -> Generator[Event, None, Any]:
    """Turn the reports of windows into events; returns what the steps return."""
    start = time.monotonic()
    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            return end.value
        seconds = time.monotonic() - start
        yield {
            "event": "progress",
            "done": report.done,
            "total": report.total,
            "text": text,
            "eta_seconds": seconds / max(1, report.done) * (report.total - report.done),
        }


def _write_attention(settings: dict[str, Any], name: str, result: AttentionResult) -> Event:
    from napari_attnseg.explanation import write_attention

    files, record = write_attention(
        Path(settings["out"]), name, result, overwrite=_may_overwrite(settings)
    )
    maps = {key: {**about, "path": str(files[key])} for key, about in result.info["maps"].items()}
    # The values of every window stay in the record; an event should be small.
    numbers = {
        key: {part: value for part, value in about.items() if part != "windows"}
        for key, about in result.info["numbers"].items()
    }
    info = {
        "kind": "attention",
        "numbers": {**maps, **numbers},
        **{key: result.info.get(key, []) for key in ("curves", "boxes", "on_demand")},
        "reason": result.info.get("reason"),
        "record": str(record),
    }
    return {"event": "map", "path": None, "info": info}


def _may_overwrite(settings: dict[str, Any]) -> bool:
    # Maps can be made again, so only who asks for it is refused.
    return bool(settings.get("overwrite", True))
