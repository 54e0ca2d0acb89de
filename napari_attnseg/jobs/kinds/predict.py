"""Masks of cases, written where they are wanted.

Settings: ``run`` (folder), ``weights`` (best or last), ``inputs`` (list of ``name`` and
``images``, file by channel name), ``out`` (folder), ``settings`` (`PredictConfig`),
``overwrite``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.config import PredictConfig
from napari_attnseg.io import write_volume
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import (
    JobError,
    read_on_one_grid,
    require_different_names,
    require_new_files,
    require_writable,
    told_resampled,
)

if TYPE_CHECKING:
    from napari_attnseg.inference import Prediction, Run
    from napari_attnseg.volume import Volume

logger = logging.getLogger(__name__)

SUFFIX = ".nii.gz"


@JOBS.register("predict")
def predict(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield progress and a ``case`` event for each mask; returns how many there are."""
    config = PredictConfig.from_dict(settings.get("settings") or {})
    inputs, out = settings["inputs"], Path(settings["out"])
    require_different_names(inputs)
    names = [str(one["name"]) for one in inputs]
    files = [file for name in names for file in result_files(out, name, config).values()]
    require_new_files(files, overwrite=bool(settings.get("overwrite")))
    require_writable(out)
    yield _progress(0, len(inputs), "Loading the network", None)
    weights = settings.get("weights") or "best"
    run = context.runs.load(settings["run"], weights=weights, device=config.device)
    clock = _Clock(len(inputs))
    failures: list[tuple[str, ValueError]] = []
    for done, one in enumerate(inputs):
        if context.should_stop():
            break
        try:
            yield from _case(run, one, out, config, clock.starting(done), context)
        except ValueError as error:
            logger.info("Could not predict %s", one["name"], exc_info=True)
            failures.append((str(one["name"]), error))
            if len(inputs) > 1:
                yield {"event": "warning", "text": f"{one['name']} was left out: {error}"}
    _require_success(failures, len(inputs))
    state = "stopped" if clock.cases < len(inputs) else "done"
    return {"cases": clock.cases, "state": state, "out": str(out)}


def result_files(out: Path, name: str, config: PredictConfig) -> dict[str, Path]:
    """Return the files that a case's prediction is written to."""
    files = {"labels": out / f"{name}{SUFFIX}"}
    for extra in ("probabilities", "uncertainty"):
        if getattr(config, extra):
            files[extra] = out / f"{name}_{extra}{SUFFIX}"
    return files


class _Clock:
    """Says how much of all cases is done and how long the rest will take."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.cases = 0
        self._before = 0
        self._start = time.monotonic()

    def starting(self, before: int) -> _Clock:
        """Note that a case begins and how many came before it."""
        self._before = before
        return self

    def event(self, fraction: float, text: str) -> Event:
        """Return the progress when a part of the current case is done."""
        done = self._before + fraction
        seconds = time.monotonic() - self._start
        left = seconds / done * (self.total - done) if done > 0 else None
        return _progress(done, self.total, text, left)


def _case(
    run: Run,
    one: dict[str, Any],
    out: Path,
    config: PredictConfig,
    clock: _Clock,
    context: Context,
) -> Generator[Event, None, None]:
    from napari_attnseg.inference import predict_steps

    name = str(one["name"])
    yield clock.event(0.0, f"Reading {name}")
    image, moved = read_on_one_grid(one["images"], resample=bool(one.get("resample")))
    steps = predict_steps(run, image, config, context.should_stop)
    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            prediction: Prediction | None = end.value
            break
        yield clock.event(0.95 * report.done / report.total, f"Segmenting {name}")
    if prediction is None:
        return
    yield clock.event(0.95, f"Writing {name}")
    written = {
        part: str(write_volume(file, getattr(prediction, part)))
        for part, file in result_files(out, name, config).items()
    }
    clock.cases += 1
    warnings = [*told_resampled(moved), *prediction.warnings]
    for text in warnings:
        yield {"event": "warning", "text": f"{name}: {text}"}
    yield {
        "event": "case",
        "name": name,
        "probabilities": None,
        "uncertainty": None,
        **written,
        "volumes_ml": _volumes_ml(prediction.labels, run.classes),
        "warnings": warnings,
        "resampled": moved,
    }
    yield clock.event(1.0, f"Segmented {name}")


def _volumes_ml(labels: Volume, classes: dict[int, str]) -> dict[str, float]:
    voxel = labels.grid.voxel_volume_ml
    return {str(value): float((labels.data == value).sum()) * voxel for value in classes}


def _require_success(failures: list[tuple[str, ValueError]], total: int) -> None:
    if not failures:
        return
    name, error = failures[0]
    if total == 1:
        raise error
    raise JobError(
        f"{len(failures)} of {total} cases could not be segmented, first {name!r}: {error}"
    ) from error


def _progress(done: float, total: int, text: str, eta_seconds: float | None) -> Event:
    return {
        "event": "progress",
        "done": done,
        "total": total,
        "text": text,
        "eta_seconds": eta_seconds,
    }
