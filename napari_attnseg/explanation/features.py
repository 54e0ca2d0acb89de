"""The feature behind a channel of attention: what a gate lets pass."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.explanation.error import ExplainError
from napari_attnseg.explanation.gates import Passed, attention_sites, passing
from napari_attnseg.explanation.prepared import Prepared
from napari_attnseg.inference import WindowReport
from napari_attnseg.inference.device import precision_context
from napari_attnseg.inference.predict import on_device
from napari_attnseg.inference.sliding import ShouldStop, evaluating, forward_window, never
from napari_attnseg.inference.window import Canvas
from napari_attnseg.models.recording import RecordedMap, record
from napari_attnseg.models.sites import AttentionSite
from napari_attnseg.volume import Volume

FEATURE_KINDS = ("channel", "affinity")


@dataclass(frozen=True, eq=False)
class Feature:
    """What one channel of an attention module lets pass.

    Args:
        map: Raw values on the level's grid, stored in the image's axis order.
        info: JSON-ready.
    """

    map: Volume
    info: dict[str, Any] = field(default_factory=dict)


def feature_steps(
    prepared: Prepared, name: str, channel: int, *, should_stop: ShouldStop = never
) -> Generator[WindowReport, None, Feature | None]:
    """Yield after every window, and return a channel's feature, or None if stopped.

    Of kind channel it is what entered the module times the gate, ``x_c g_c``; of kind affinity
    the mixture ``Σ_j A_cj x_j`` that the channel takes from the others. Windows are averaged with
    their weights.

    Args:
        prepared: The case.
        name: Of a recorded map, such as ``"encoder0.se.channel"``.
        channel: Counted from 0.
        should_stop: Asked between windows.

    Raises:
        ExplainError: If there is no such map, or no such channel.
    """
    model, plan = prepared.run.model, prepared.plan
    site = _site(prepared, name)
    total, canvas, gates = None, None, 0.0
    shares = Canvas(plan)
    with on_device(prepared.run, prepared.settings.device) as device, evaluating(model):
        for done, start in enumerate(plan, start=1):
            if should_stop():
                return None
            one, taken = _recorded(prepared, site, name, start, device)
            values, gate = _mixed(one, taken, channel)  # (1, d, h, w)
            if canvas is None or total is None:
                grid = model.layer_grid(one.layer, plan.window)
                size = cast("Size", tuple(values.shape[1:]))
                canvas = Canvas(plan, size, grid.stride_dhw, grid.offset_dhw)
                total = canvas.empty(1)
            canvas.add(total, start, values, is_weighted=True)
            gates += shares.share(start) * gate
            yield WindowReport(done, len(plan), "Showing a feature")
    return _placed(prepared, one, cast("Canvas", canvas), cast("Tensor", total), (channel, gates))


def _site(prepared: Prepared, name: str) -> AttentionSite:
    place = name.partition(".")[0]
    sites = {site.name: site for site in attention_sites(prepared.run.model)}
    if place not in sites:
        known = ", ".join(sites) or "none"
        raise ExplainError(f"There is no attention at {place!r}; this network has {known}.")
    return sites[place]


def _recorded(
    prepared: Prepared, site: AttentionSite, name: str, start: Size, device: torch.device
) -> tuple[RecordedMap, Tensor]:
    """Return the map and what entered its module, ``(C, d, h, w)``, of a window."""
    model = prepared.run.model
    entered: list[Tensor] = []

    def note(where: AttentionSite, passed: Passed) -> None:
        if where is site:
            entered.append(model.unfold(passed.taken.float(), 1)[0])

    window = prepared.plan.cut(prepared.x, start).to(device)
    exact, watched = precision_context(device, "float32"), passing(model, note)
    with torch.inference_mode(), exact, watched, record(model) as recorded:
        forward_window(model, window, prepared.plan)
    maps = {one.name: one for one in recorded}
    one = maps.get(name)
    if one is None or one.kind not in FEATURE_KINDS:
        known = [key for key in maps if maps[key].kind in FEATURE_KINDS]
        raise ExplainError(
            f"{name!r} has no channels to look behind; these have: {', '.join(known) or 'none'}."
        )
    return one, entered[-1]


def _mixed(one: RecordedMap, taken: Tensor, channel: int) -> tuple[Tensor, float]:
    weights = one.tensor[0]
    count = weights.shape[0] if one.kind == "channel" else weights.shape[-1]
    if not 0 <= channel < count:
        raise ExplainError(f"{one.name} has the channels 0 to {count - 1}; {channel} was asked.")
    if one.kind == "channel":
        gate = weights[channel]  # (1, 1, 1), or (D, 1, 1) of slices
        return (taken[channel] * gate)[None].cpu(), float(gate.mean())
    # Of a flat network there is a matrix for each slice.
    row = weights[..., channel, :]  # (C,) or (D, C)
    pattern = "c,cdhw->dhw" if row.ndim == 1 else "dc,cdhw->dhw"
    mine = row[..., channel]
    return torch.einsum(pattern, row, taken)[None].cpu(), float(mine.mean())


def _placed(
    prepared: Prepared, one: RecordedMap, canvas: Canvas, total: Tensor, which: tuple[int, float]
) -> Feature:
    low = prepared.grid.strided(canvas.size, canvas.stride, canvas.offset)
    placed = Volume(total.numpy(), low.affine).parallel_to(prepared.image.grid)
    run, (channel, gate) = prepared.run, which
    what = "feature x gate" if one.kind == "channel" else "mixture of channels"
    cells = " x ".join(f"{mm:.3g}" for mm in low.spacing_dhw)
    info = {
        "kind": "feature",
        "name": one.name,
        "channel": channel,
        "gate": gate,
        "layer": one.layer,
        "stride_dhw": list(canvas.stride),
        "offset_dhw": list(canvas.offset),
        "stride_mm": list(low.spacing_dhw),
        "range": [float(total.min()), float(total.max())],
        "shape_dhw": list(placed.shape_dhw),
        "affine_ras": placed.affine.tolist(),
        "run": run.id,
        "weights": run.weights,
        "weights_sha256": run.weights_sha256,
        "caption": f"{one.name}, channel {channel}, {what} ({gate:.3f}), cells of {cells} mm",
    }
    return Feature(placed, info)
