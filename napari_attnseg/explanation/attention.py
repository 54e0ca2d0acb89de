"""What the attention modules of a network did on a volume."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from napari_attnseg import __version__
from napari_attnseg.axes import Size
from napari_attnseg.config import PredictConfig
from napari_attnseg.explanation.boxes import box
from napari_attnseg.explanation.curves import CURVE_KINDS, CurveSum, curves
from napari_attnseg.inference import Run, WindowReport
from napari_attnseg.inference.device import precision_context
from napari_attnseg.inference.predict import bind_channels, network_input, on_device
from napari_attnseg.inference.sliding import (
    ShouldStop,
    evaluating,
    forward_window,
    never,
    windows_for,
)
from napari_attnseg.inference.window import Canvas, WindowPlan
from napari_attnseg.models import SegmentationModel
from napari_attnseg.models.recording import VOLUME_KINDS, RecordedMap, record
from napari_attnseg.preprocessing import preprocess
from napari_attnseg.volume import Grid, Volume


@dataclass(frozen=True, eq=False)
class AttentionResult:
    """The attention maps of a network on a volume.

    Args:
        volumes: By name, such as ``"encoder0.cbam.spatial"``: spatial, slice and axis kinds, the
            raw weights in float32 on their level's grid, stored in the axis order of the image.
            Where windows overlap they are averaged with the windows' weights. Slice and axis
            weights are repeated along the axes that they do not have.
        info: JSON-ready. ``maps`` describes the volumes; ``numbers`` holds the kinds that have no
            place in the body, per window and as the windows' weighted mean; ``curves`` holds
            slice and axis kinds by the image's slices, ``boxes`` where transformers look.
    """

    volumes: dict[str, Volume] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


def attention_maps(run: Run, volume: Volume, **settings: Any) -> AttentionResult:
    """Return every attention map that a run's network can show of a volume.

    Args:
        run: From `load_run`.
        volume: All images of a case.
        settings: Fields of `PredictConfig`; the windows are those of a prediction with them.
    """
    steps = attention_steps(run, volume, settings=PredictConfig(**settings))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("AttentionResult", end.value)


def attention_steps(
    run: Run,
    volume: Volume,
    *,
    settings: PredictConfig | None = None,
    should_stop: ShouldStop = never,
) -> Generator[WindowReport, None, AttentionResult | None]:
    """Yield after every window, and return what `attention_maps` does, or None if stopped."""
    settings = settings or PredictConfig()
    image = bind_channels(run, volume)
    prepared = preprocess(image, run.plan)
    x = network_input(prepared)
    plan = windows_for(
        run.model, cast("Size", tuple(x.shape[2:])), run.plan.patch_size, settings.overlap
    )
    collected = Collector(run.model, plan)
    with on_device(run, settings.device) as device, evaluating(run.model):
        for done, start in enumerate(plan, start=1):
            if should_stop():
                return None
            window = plan.cut(x, start).to(device)
            exact = precision_context(device, "float32")
            with torch.inference_mode(), exact, record(run.model) as recorded:
                forward_window(run.model, window, plan)
            collected.add(start, recorded)
            yield WindowReport(done, len(plan), "Recording attention")
    return _result(run, collected, prepared.grid, image.grid)


class Collector:
    """Sums of recorded maps over windows.

    Args:
        model: The network.
        plan: Its windows.
    """

    def __init__(self, model: SegmentationModel, plan: WindowPlan) -> None:
        self.model = model
        self.plan = plan
        self.canvases: dict[str, Canvas] = {}
        self.totals: dict[str, Tensor] = {}
        self.facts: dict[str, RecordedMap] = {}
        self.numbers: dict[str, list[dict[str, Any]]] = {}
        self.curves: dict[str, CurveSum] = {}
        self.transforms: list[tuple[str, Size, float, RecordedMap]] = []
        self._shares = Canvas(plan)

    def add(self, start: Size, recorded: Iterable[RecordedMap]) -> None:
        """Add the maps that one window gave."""
        for name, one in _distinct(recorded):
            self.facts.setdefault(name, one)
            if one.kind in VOLUME_KINDS:
                self._add_volume(name, start, one)
            elif one.kind != "position":
                values = _numbers(one)
                entry = {"start_dhw": list(start), "weight": self._shares.share(start)}
                self.numbers.setdefault(name, []).append({**entry, "values": values})
            if one.kind == "transform":
                self.transforms.append((name, start, self._shares.share(start), one))

    def _add_volume(self, name: str, start: Size, one: RecordedMap) -> None:
        if name not in self.canvases:
            grid = self.model.layer_grid(one.layer, self.plan.window)
            canvas = Canvas(self.plan, one.size, grid.stride_dhw, grid.offset_dhw)
            self.canvases[name], self.totals[name] = canvas, canvas.empty(1)
        self.canvases[name].add(self.totals[name], start, one.volume()[0], is_weighted=True)
        if one.kind in CURVE_KINDS:
            if name not in self.curves:
                self.curves[name] = CurveSum(one, self.canvases[name])
            self.curves[name].add(start, one)


def _distinct(recorded: Iterable[RecordedMap]) -> list[tuple[str, RecordedMap]]:
    """Return maps with names of their own: a marker that is passed twice gets a number."""
    found: dict[str, RecordedMap] = {}
    for one in recorded:
        name, times = one.name, 1
        while name in found:
            times += 1
            name = f"{one.name}.{times}"
        found[name] = one
    return list(found.items())


def _numbers(one: RecordedMap) -> list[Any]:
    return cast("list[Any]", one.numbers()[0].float().cpu().tolist())


def _result(run: Run, found: Collector, grid: Grid, image: Grid) -> AttentionResult:
    volumes, maps = {}, {}
    for name, canvas in found.canvases.items():
        low = grid.strided(canvas.size, canvas.stride, canvas.offset)
        values = found.totals[name].numpy()
        volumes[name] = Volume(values, low.affine).parallel_to(image)
        maps[name] = {
            **_about(found.facts[name]),
            "stride_dhw": list(canvas.stride),
            "offset_dhw": list(canvas.offset),
            "stride_mm": list(low.spacing_dhw),
            "range": [float(values.min()), float(values.max())],
            "shape_dhw": list(volumes[name].shape_dhw),
            "affine_ras": volumes[name].affine.tolist(),
        }
    numbers = {
        name: {**_about(found.facts[name]), "mean": _weighted_mean(windows), "windows": windows}
        for name, windows in found.numbers.items()
    }
    info = {
        "attention": run.config.attention,
        "sites": list(run.config.sites),
        "run": run.id,
        "weights": run.weights,
        "weights_sha256": run.weights_sha256,
        "version": __version__,
        "precision": "float32",
        "windows": len(found.plan),
        "network_grid": {"shape_dhw": list(grid.shape_dhw), "affine_ras": grid.affine.tolist()},
        "maps": maps,
        "numbers": numbers,
        "curves": curves(found.curves, found.facts, grid, image),
        "boxes": _boxes(found, grid),
        "on_demand": [name for name, one in found.facts.items() if one.kind == "position"],
        "reason": None if found.facts else "This network has no attention module to show.",
    }
    return AttentionResult(volumes, info)


def _boxes(found: Collector, grid: Grid) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "start_dhw": list(start),
            "weight": share,
            **box(one, grid, start, found.plan.margin),
        }
        for name, start, share, one in found.transforms
    ]


def _about(one: RecordedMap) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "layer": one.layer,
        "bounds": None if one.bounds is None else list(one.bounds),
    }


def _weighted_mean(windows: list[dict[str, Any]]) -> list[Any]:
    values = np.array([one["values"] for one in windows], dtype=np.float64)
    weights = np.array([one["weight"] for one in windows])
    return cast("list[Any]", np.tensordot(weights / weights.sum(), values, axes=1).tolist())
