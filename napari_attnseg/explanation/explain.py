"""Explain a run's segmentation of a volume, in the patient's space."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from napari_attnseg import __version__
from napari_attnseg.axes import Size
from napari_attnseg.config import PredictConfig
from napari_attnseg.explanation.catalogue import DEFAULT_METHOD, make_method, option_tag
from napari_attnseg.explanation.contract import INPUT, Method, NotSuitedError
from napari_attnseg.explanation.freeze import freeze, name_of
from napari_attnseg.explanation.spec import TargetSpec
from napari_attnseg.explanation.stitch import RawMap, Stitcher, stitched_map
from napari_attnseg.inference import Run, WindowReport, sliding_window
from napari_attnseg.inference.predict import (
    bind_channels,
    network_input,
    on_device,
    precision_for,
)
from napari_attnseg.inference.sliding import ShouldStop, never, strongest_class, windows_for
from napari_attnseg.preprocessing import preprocess, unlike
from napari_attnseg.volume import Grid, Volume

HALF = 0.5


@dataclass(frozen=True, eq=False)
class Explanation:
    """A map and its record.

    Args:
        map: Raw, signed values in float32 on the layer's own grid, stored in the axis order of
            the explained image; None if there is nothing to explain.
        info: JSON-ready; says what was explained, how, and how far it can be trusted.
            ``stride_dhw`` and ``offset_dhw`` count voxels of ``network_grid`` along its own axes:
            voxel u of the map lies at ``offset + stride * u`` there. ``affine_ras`` is that of
            the map as stored.
    """

    map: Volume | None
    info: dict[str, Any] = field(default_factory=dict)


def explain(
    run: Run,
    volume: Volume,
    target: int | Mapping[str, Any] | TargetSpec = 1,
    method: str = DEFAULT_METHOD,
    layer: str | None = None,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Explanation:
    """Return where a segmentation, or a part of it, comes from.

    Args:
        run: From `load_run`.
        volume: All images of a case.
        target: Class value, or what else is asked about: a `TargetSpec` or its JSON form.
        method: One of `METHODS`.
        layer: One of the network's `layer_names`; None is the default one.
        options: Of the method, by name.
        settings: Fields of `PredictConfig`; the windows are those of a prediction with them.

    Raises:
        ExplainError: If the method, the layer, the target or an option does not exist.
        GridMismatchError: If a region or reference is not on the image's grid.
        RunError: If the run has no such class.
        InputError: If the volume's channels are not those of the run.
    """
    steps = explain_steps(
        run, volume, target, method, layer, options=options, settings=PredictConfig(**settings)
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Explanation", end.value)


def explain_steps(  # noqa: PLR0913 - each is a choice of the caller
    run: Run,
    volume: Volume,
    target: int | Mapping[str, Any] | TargetSpec = 1,
    method: str = DEFAULT_METHOD,
    layer: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    settings: PredictConfig | None = None,
    should_stop: ShouldStop = never,
) -> Generator[WindowReport, None, Explanation | None]:
    """Yield after every window, and return what `explain` returns, or None if it was stopped."""
    settings = settings or PredictConfig()
    spec, how = TargetSpec.of(target), make_method(method, options)
    layer = how.layer_for(run.model, layer)
    run.class_index(spec.value)
    image = bind_channels(run, volume)
    prepared = preprocess(image, run.plan)
    x = network_input(prepared)
    facts = _facts(run, spec, how, layer, prepared.grid) | {"method": method}
    facts["warnings"] = list(unlike(image, run.plan))
    plan = windows_for(
        run.model, cast("Size", tuple(x.shape[2:])), run.plan.patch_size, settings.overlap
    )
    with on_device(run, settings.device) as device:
        segmenting = sliding_window(
            run.model,
            x,
            run.plan.patch_size,
            overlap=settings.overlap,
            precision=precision_for(run, device, settings.precision),
            should_stop=should_stop,
        )
        logits = yield from _counted(segmenting, after=len(plan))
        if logits is None:
            return None
        frozen = freeze(run, spec, logits, image.grid)
        labels = strongest_class(logits).cpu()
        del logits
        facts["target"] = frozen.to_dict()
        if not frozen.voxels:
            return Explanation(None, {**facts, "map": None, "reason": frozen.reason})
        more: dict[str, Any] = {"spacing": prepared.grid.spacing_dhw, "labels": labels}
        stitcher = Stitcher(run.model, x, plan, layer, frozen, **more)
        painting = stitched_map(stitcher, how, should_stop)
        try:
            raw = yield from _counted(painting, before=len(plan))
        except NotSuitedError as error:
            return Explanation(None, {**facts, "map": None, "reason": str(error)})
    if raw is None:
        return None
    return _placed(raw, prepared.grid, image.grid, {**facts, **_named(run, raw.facts)})


Result = TypeVar("Result")


def _counted(
    steps: Generator[WindowReport, None, Result], *, before: int = 0, after: int = 0
) -> Generator[WindowReport, None, Result]:
    """Yield the reports of one part of the work as part of the whole."""
    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            return cast("Result", end.value)
        yield WindowReport(before + report.done, before + report.total + after, report.text)


def map_tag(spec: TargetSpec, method: Method) -> str:
    """Return what tells a map's file from that of the whole class with default options."""
    return "_".join(one for one in (spec.tag, option_tag(method)) if one)


def _facts(run: Run, spec: TargetSpec, how: Method, layer: str, grid: Grid) -> dict[str, Any]:
    stride = (1.0, 1.0, 1.0)
    if layer != INPUT:
        stride = run.model.layer_grid(layer, cast("Size", run.plan.patch_size)).stride_dhw
    return {
        "method_title": how.title,
        "options": how.options.to_dict(),
        "layer": layer,
        "layer_remark": how.layer_remark(layer),
        "class": spec.value,
        "class_name": name_of(run, spec.value),
        "tag": map_tag(spec, how),
        "stride_dhw": list(stride),
        "stride_mm": [s * mm for s, mm in zip(stride, grid.spacing_dhw, strict=True)],
        "precision": "float32",
        "run": run.id,
        "weights": run.weights,
        "weights_sha256": run.weights_sha256,
        "version": __version__,
        "network_grid": {"shape_dhw": list(grid.shape_dhw), "affine_ras": grid.affine.tolist()},
        "remarks": [],
        "reason": None,
    }


def _named(run: Run, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what a method found with the names of the run's classes and channels."""
    found = dict(facts)
    for row in found.get("regions", ()):
        if "index" in row:
            value = run.values[row.pop("index")]
            row.update({"class": value, "name": name_of(run, value)})
    for row, name in zip(found.get("modalities", ()), run.channels, strict=False):
        row["name"] = name
    return found


def _placed(raw: RawMap, grid: Grid, image: Grid, facts: dict[str, Any]) -> Explanation:
    values = raw.values
    low = grid.strided(cast("Size", tuple(values.shape)), raw.stride, raw.offset)
    placed = Volume(values[None].numpy(), low.affine).parallel_to(image)
    lowest, highest = float(values.min()), float(values.max())
    info = {
        **facts,
        "stride_dhw": list(raw.stride),
        "offset_dhw": list(raw.offset),
        "range": [lowest, highest],
        "coverage": {"windows": raw.windows, "explained": raw.explained},
        "degenerate": raw.is_degenerate,
        "gradient_ratio": raw.gradient_ratio,
        "positive_evidence": highest > 0,
        "remarks": [*raw.remarks, *_remarks(raw, highest, facts)],
        "shape_dhw": list(placed.shape_dhw),
        "affine_ras": placed.affine.tolist(),
    }
    return Explanation(placed, info)


def _remarks(raw: RawMap, highest: float, facts: dict[str, Any]) -> list[str]:
    remarks, share = [], facts["target"]["predicted_share"]
    name, layer = facts["class_name"], facts["layer"]
    where = "in the image" if layer == INPUT else f"at {layer}"
    if share < HALF:
        part = "none" if share == 0 else f"{share:.0%}"
        remarks.append(
            f"The network called {part} of this region {name}; the map shows what speaks for "
            f"{name} there all the same."
        )
    if raw.is_degenerate:
        remarks.append(
            f"The gradient cancels out {where}, so this map is rounding noise; choose another "
            "layer."
        )
    if highest <= 0:
        remarks.append(
            f"No positive evidence: nothing {where} speaks for {name}; another layer or method "
            "may show it."
        )
    return remarks
