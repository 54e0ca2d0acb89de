"""Explain a run's segmentation of a volume, in the patient's space."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from napari_attnseg import __version__
from napari_attnseg.axes import Size
from napari_attnseg.config import PredictConfig
from napari_attnseg.explanation.capture import activations_and_gradients, as_logits, in_place
from napari_attnseg.explanation.contract import METHODS, Capture, ExplainError
from napari_attnseg.explanation.layers import DEFAULT_METHOD, check_layer, layer_remark
from napari_attnseg.explanation.stitch import RawMap, Stitcher, stitched_map
from napari_attnseg.explanation.target import Target, masked_mean
from napari_attnseg.inference import Run, WindowReport, sliding_window
from napari_attnseg.inference.predict import (
    bind_channels,
    network_input,
    on_device,
    precision_for,
)
from napari_attnseg.inference.sliding import (
    ShouldStop,
    device_of,
    evaluating,
    never,
    strongest_class,
    windows_for,
)
from napari_attnseg.models import SegmentationModel
from napari_attnseg.models.grid import MoveBack
from napari_attnseg.preprocessing import preprocess, unlike
from napari_attnseg.volume import Grid, Volume


@dataclass(frozen=True, eq=False)
class Explanation:
    """A class activation map and its record.

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
    target: int = 1,
    method: str = DEFAULT_METHOD,
    layer: str | None = None,
    **settings: Any,
) -> Explanation:
    """Return where a class's segmentation comes from.

    Args:
        run: From `load_run`.
        volume: All images of a case.
        target: Class value.
        method: One of `METHODS`.
        layer: One of the network's `layer_names`; None is the deepest.
        settings: Fields of `PredictConfig`; the windows are those of a prediction with them.

    Raises:
        ExplainError: If the method or the layer does not exist.
        RunError: If the run has no such class.
        InputError: If the volume's channels are not those of the run.
    """
    steps = explain_steps(run, volume, target, method, layer, settings=PredictConfig(**settings))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Explanation", end.value)


def explain_steps(
    run: Run,
    volume: Volume,
    target: int = 1,
    method: str = DEFAULT_METHOD,
    layer: str | None = None,
    *,
    settings: PredictConfig | None = None,
    should_stop: ShouldStop = never,
) -> Generator[WindowReport, None, Explanation | None]:
    """Yield after every window, and return what `explain` returns, or None if it was stopped."""
    settings = settings or PredictConfig()
    layer = check_layer(run.model, layer)
    how = METHODS[method]()
    index = run.class_index(target)
    image = bind_channels(run, volume)
    prepared = preprocess(image, run.plan)
    x = network_input(prepared)
    facts = _facts(run, target, method, layer, prepared.grid)
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
        frozen = Target((strongest_class(logits) == index).cpu(), {index: 1.0})
        del logits
        facts["target"] = frozen.to_dict()
        if not frozen.voxels:
            return Explanation(None, {**facts, "map": None, "reason": _not_found(run, target)})
        stitcher = Stitcher(run.model, x, plan, layer, frozen)
        raw = yield from _counted(stitched_map(stitcher, how, should_stop), before=len(plan))
    if raw is None:
        return None
    return _placed(raw, prepared.grid, image.grid, facts)


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


def explain_tensor(
    model: nn.Module,
    x: Tensor,
    mask: Tensor,
    class_index: int | Sequence[int] = 1,
    method: str = DEFAULT_METHOD,
    layer: str | nn.Module | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return the raw, signed map of one window, ``(B, 1, d, h, w)``, on the layer's own grid.

    Args:
        model: Left as it was found; any network whose first output is the logits.
        x: ``(B, C, D, H, W)``.
        mask: Boolean, the region that is explained: ``(D, H, W)``, or one per sample.
        class_index: Network channel, or one per sample.
        method: One of `METHODS`.
        layer: One of the network's `layer_names`, a dotted module name, or the module.
        reduction: ``"mean"`` of the logits in the region, or their ``"sum"``.

    Raises:
        ExplainError: If the layer or the method does not exist, or the mask does not fit.
    """
    if reduction not in ("mean", "sum"):
        raise ExplainError(f"The reduction is {reduction!r}; use mean or sum.")
    how = METHODS[method]()
    single = isinstance(class_index, int)
    classes = (
        [cast("int", class_index)] * len(x) if single else list(cast("Sequence", class_index))
    )
    device = device_of(model)
    module = _module(model, layer)
    ours = model if isinstance(model, SegmentationModel) else None
    watched: AbstractContextManager[list[MoveBack]] = ours.moves() if ours else nullcontext([])
    with evaluating(model), watched as moves:
        activations, gradients = activations_and_gradients(
            lambda: as_logits(model(x.to(device))),
            module,
            lambda logits: masked_mean(logits, mask, classes, reduction),
            device=device,
        )
    if ours:
        activations, gradients = (
            ours.unfold(in_place(ours, module, moves, one), len(x))
            for one in (activations, gradients)
        )
    weights = torch.ones((1, 1, 1), device=device)
    return how.one_window(Capture(activations, gradients, weights))


def _module(model: nn.Module, layer: str | nn.Module | None) -> nn.Module:
    if isinstance(layer, nn.Module):
        return layer
    names = [name for name, _ in model.named_children()]
    if isinstance(model, SegmentationModel):
        names = model.layer_names
        if layer is None or layer in names:
            return model.layer(check_layer(model, layer))
    try:
        return model.get_submodule(layer or "")
    except AttributeError as error:
        raise ExplainError(
            f"There is no layer {layer!r} to explain; this network has {', '.join(names)}."
        ) from error


def _facts(run: Run, target: int, method: str, layer: str, grid: Grid) -> dict[str, Any]:
    stride = run.model.layer_grid(layer, cast("Size", run.plan.patch_size)).stride_dhw
    return {
        "method": method,
        "layer": layer,
        "layer_remark": layer_remark(layer),
        "class": target,
        "class_name": run.classes.get(target, "background"),
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
        "remarks": _remarks(raw, highest, facts),
        "shape_dhw": list(placed.shape_dhw),
        "affine_ras": placed.affine.tolist(),
    }
    return Explanation(placed, info)


def _remarks(raw: RawMap, highest: float, facts: dict[str, Any]) -> list[str]:
    remarks = []
    if raw.is_degenerate:
        remarks.append(
            f"The gradient cancels out at {facts['layer']}, so this map is rounding noise; "
            "choose another layer."
        )
    if highest <= 0:
        remarks.append(
            f"No positive evidence: nothing at {facts['layer']} speaks for "
            f"{facts['class_name']}; another layer or method may show it."
        )
    return remarks


def _not_found(run: Run, target: int) -> str:
    name = run.classes.get(target, "background")
    return (
        f"The network found no {name} (class {target}) in this volume, so there is no map of it."
    )
