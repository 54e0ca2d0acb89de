"""Check a map: does it tell what the network needs, and how far can it be trusted?"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from torch import Tensor

from napari_attnseg import __version__
from napari_attnseg.config import Config, PredictConfig, setting
from napari_attnseg.explanation.error import ExplainError, NotSuitedError
from napari_attnseg.explanation.freeze import freeze
from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.measure import FORMS, MEASURES, CheckedMap, Measure, Result, Work
from napari_attnseg.explanation.prepared import Prepared, prepare
from napari_attnseg.explanation.remake import remake_of
from napari_attnseg.explanation.spec import TargetSpec
from napari_attnseg.explanation.subject import Subject
from napari_attnseg.explanation.target import Target
from napari_attnseg.explanation.verdict import verdict
from napari_attnseg.inference import Run, WindowReport
from napari_attnseg.inference.predict import on_device
from napari_attnseg.inference.sliding import ShouldStop, never, strongest_class
from napari_attnseg.volume import Grid, Volume, require_same_grid


@dataclass(frozen=True)
class CheckConfig(Config):
    """What is measured of a map."""

    form: str = setting("quick", help="How much is measured", choices=FORMS)
    measures: tuple[str, ...] | None = setting(None, help="Names; those of the form if None")
    seed: int = setting(0, help="Of everything random", minimum=0)

    def names(self) -> list[str]:
        """Return the measures to take; those that decide come first, as a check may be stopped.

        Raises:
            UnknownPartError: If there is no such measure.
        """
        of_form = [name for name in MEASURES if self.form in MEASURES[name].forms]
        chosen = of_form if self.measures is None else list(self.measures)
        quick = {name: "quick" in MEASURES[name].forms for name in chosen}
        return sorted(chosen, key=lambda name: (name != "road", not quick[name]))


@dataclass(frozen=True, eq=False)
class Measured:
    """A measure that is finished.

    Args:
        name: Of the measure.
        result: JSON-ready.
    """

    name: str
    result: dict[str, Any]


def check_map(
    run: Run, volume: Volume, heat: Volume, info: Mapping[str, Any], **options: Any
) -> dict[str, Any]:
    """Return the record of a check; see `check_steps` for the arguments."""
    steps = check_steps(run, volume, heat, info, **options)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("dict[str, Any]", end.value)


def check_steps(
    run: Run,
    volume: Volume,
    heat: Volume,
    info: Mapping[str, Any],
    *,
    config: CheckConfig | None = None,
    settings: PredictConfig | None = None,
    should_stop: ShouldStop = never,
) -> Generator[WindowReport | Measured, None, dict[str, Any]]:
    """Yield after every window and every measure, and return the record.

    The region is that of the map's target, found again and then left as it is.

    Args:
        run: That the map was made with.
        volume: All images of the case.
        heat: The map.
        info: The map's record.
        config: What is measured.
        settings: That the map was made with.
        should_stop: Asked between windows; what was measured until then is kept.

    Raises:
        ExplainError: If the map is of other weights or another case.
    """
    began = time.monotonic()
    config = config or CheckConfig()
    prepared = prepare(run, volume, settings)
    _require_fit(prepared, info)
    found: dict[str, dict[str, Any]] = {}
    record = {**_facts(run, info), **config.to_dict(), "measures": found}
    with on_device(run, prepared.settings.device) as device:
        logits = yield from prepared.logits(device, should_stop)
        if logits is None:
            return _finished(record, began, is_stopped=True)
        target = frozen_target(prepared, logits, info)
        labels = strongest_class(logits).cpu()
        del logits
        checked = checked_map(prepared, heat, info, target, config, labels=labels)
        record["flags"] = flags(checked, info)
        is_stopped = not (yield from _measure(checked, config.names(), record, should_stop))
    return _finished(record, began, is_stopped=is_stopped)


def frozen_target(prepared: Prepared, logits: Tensor, info: Mapping[str, Any]) -> Target:
    """Return the target of a map from its record, on the network's grid.

    Raises:
        ExplainError: If the record does not tell, or the region is empty now.
    """
    asked = (info.get("target") or {}).get("spec", int(info["class"]))
    if asked is None:
        raise ExplainError(
            "The map's target was given in memory, so it cannot be found again from its record; "
            "give the region as a file."
        )
    target = freeze(prepared.run, TargetSpec.of(asked), logits, prepared.image.grid)
    if not target.voxels:
        raise ExplainError(target.reason or "The explained region is empty.")
    return target


def checked_map(
    prepared: Prepared,
    heat: Volume,
    info: Mapping[str, Any],
    target: Target,
    config: CheckConfig | None = None,
    *,
    labels: Tensor | None = None,
) -> CheckedMap:
    """Return a map with all that measuring it takes; see `remake_of` for the arguments."""
    config = config or CheckConfig()
    subject = Subject(
        prepared.run.model, prepared.x, prepared.plan, target.region, target.coefficients
    )
    remake, windows = remake_of(prepared, info, target, labels)
    return CheckedMap(
        subject=subject,
        heat=Heat.of(heat, prepared.grid),
        spacing=prepared.grid.spacing_dhw,
        remake=remake,
        remake_windows=windows,
        layer=str(info["layer"]),
        form=config.form,
        seed=config.seed,
    )


def flags(checked: CheckedMap, info: Mapping[str, Any]) -> list[str]:
    """Return sentences about what makes a map unfit, whatever the measures say."""
    values = checked.heat.values
    found = [str(one) for one in info.get("remarks") or ()]
    if not np.isfinite(values).all():
        found.append("The map holds values that are not finite.")
    elif np.ptp(values) == 0:
        found.append("The map is the same everywhere, so it says nothing.")
    if checked.layer == "decoder0":
        found.append(
            "This layer is the last one before the result, so the map is close to the "
            "segmentation itself."
        )
    return found


def _require_fit(prepared: Prepared, info: Mapping[str, Any]) -> None:
    run, made_with = prepared.run, info.get("weights_sha256")
    if made_with and made_with != run.weights_sha256:
        raise ExplainError(
            f"The map was made with other weights than the {run.weights} ones of run {run.id}; "
            "make it again, then check it."
        )
    grid = info.get("network_grid")
    if grid:
        made_on = Grid(tuple(grid["shape_dhw"]), np.array(grid["affine_ras"]))
        require_same_grid(made_on, prepared.grid, names=("case of the map", "case given"))


def _facts(run: Run, info: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("method", "layer", "class", "class_name", "target")
    return {
        **{name: info.get(name) for name in kept},
        "run": run.id,
        "weights": run.weights,
        "weights_sha256": run.weights_sha256,
        "version": __version__,
        "score": None,
        "flags": [],
    }


def _measure(
    checked: CheckedMap, names: list[str], record: dict[str, Any], should_stop: ShouldStop
) -> Generator[WindowReport | Measured, None, bool]:
    """Take the measures one after another; returns whether all of them were finished."""
    measures = {name: MEASURES[name]() for name in names}
    before = len(checked.subject.plan)
    total = before + checked.windows + sum(one.windows(checked) for one in measures.values())
    steps = _counted(before, total)
    scored: list[float] = []
    yield from _through(checked.subject.score(), steps, "Asking the network", should_stop, scored)
    if not scored:
        return False
    record["score"] = scored[0]
    for name, measure in measures.items():
        results: list[Any] = []
        work = _suited(measure, checked)
        yield from _through(work, steps, measure.title, should_stop, results)
        if not results:
            return False
        record["measures"][name] = measure.to_json(results[0])
        yield Measured(name, record["measures"][name])
    return True


def _suited(measure: Measure, checked: CheckedMap) -> Work[Result]:
    """Take a measure; where the method cannot make the map again, say so instead."""
    try:
        return (yield from measure.steps(checked))
    except NotSuitedError as error:
        return Result(None, f"Not measured: {error}")


def _through(
    work: Work[Any],
    steps: Iterator[tuple[int, int]],
    text: str,
    should_stop: ShouldStop,
    results: list[Any],
) -> Generator[WindowReport, None, None]:
    """Report every step of some work; its result is appended, unless it was stopped."""
    while not should_stop():
        try:
            next(work)
        except StopIteration as end:
            results.append(end.value)
            return
        done, total = next(steps)
        yield WindowReport(done, total, text)
    work.close()


def _counted(before: int, total: int) -> Iterator[tuple[int, int]]:
    done = before
    while True:
        done += 1
        yield done, max(done, total)


def _finished(record: dict[str, Any], began: float, *, is_stopped: bool) -> dict[str, Any]:
    return {
        **record,
        "verdict": verdict(record["measures"].get("road")),
        "state": "stopped" if is_stopped else "done",
        "seconds": round(time.monotonic() - began, 2),
    }
