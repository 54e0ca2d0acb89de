"""What one place attends to, and what attends to it: rows and columns of position attention.

No N x N matrix is made: a row is one product of a query with all keys, a column one key's share
in the softmax of every query, reckoned some queries at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.explanation.blocks import Blocks
from napari_attnseg.explanation.error import ExplainError
from napari_attnseg.explanation.gates import UNUSED, Passed, passing
from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.prepared import Prepared
from napari_attnseg.inference.device import precision_context
from napari_attnseg.inference.predict import on_device
from napari_attnseg.inference.sliding import evaluating, forward_window, strongest_class
from napari_attnseg.inference.window import Canvas
from napari_attnseg.models.recording import RecordedMap, record
from napari_attnseg.models.sites import AttentionSite
from napari_attnseg.volume import Grid, Volume

DIRECTIONS = ("row", "column")
QUERIES_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Glance:
    """What position attention saw in one window; queries and keys, on the CPU.

    Args:
        start: First voxel of the window.
        maps: By name.
        changes: By name of the place, ``|out - x| / |x|`` of its module.
        labels: Channel of the strongest logit, ``(d, h, w)`` of the window.
    """

    start: Size
    maps: dict[str, RecordedMap]
    changes: dict[str, float]
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Attended:
    """What a place attends to, or what attends to it.

    Args:
        map: Weights on the level's grid, stored in the image's axis order.
        info: JSON-ready.
    """

    map: Volume
    info: dict[str, Any] = field(default_factory=dict)


def window_of(prepared: Prepared, at: Sequence[float]) -> Size:
    """Return the start of the window in whose middle a place lies most.

    Args:
        prepared: The case.
        at: World RAS mm.

    Raises:
        ExplainError: If the place is outside the image.
    """
    inside = prepared.image.grid.voxel(np.array(at, dtype=np.float64))
    if ((inside < -0.5) | (inside > np.array(prepared.image.shape_dhw) - 0.5)).any():
        words = ", ".join(f"{mm:.1f}" for mm in at)
        raise ExplainError(f"The place ({words}) mm lies outside of the image; click inside it.")
    voxel = _nearest(prepared.grid.voxel(np.array(at)), prepared.plan.size)
    canvas, best = Canvas(prepared.plan), (-1.0, (0, 0, 0))
    for start in prepared.plan:
        local = tuple(v - s for v, s in zip(voxel, start, strict=True))
        if all(0 <= v < n for v, n in zip(local, prepared.plan.window, strict=True)):
            best = max(best, (float(canvas.weight(start)[local]), start))
    return best[1]


def glance(prepared: Prepared, start: Size) -> Glance:
    """Return what position attention sees in a window; the network runs once."""
    run, changes = prepared.run, dict[str, float]()

    def note(site: AttentionSite, passed: Passed) -> None:
        whole = float(torch.linalg.vector_norm(passed.taken.float()))
        added = float(torch.linalg.vector_norm((passed.given - passed.taken).float()))
        changes[site.name] = added / whole if whole else 0.0

    with on_device(run, prepared.settings.device) as device, evaluating(run.model):
        window = prepared.plan.cut(prepared.x, start).to(device)
        exact = precision_context(device, "float32")
        watched = passing(run.model, note)
        with torch.inference_mode(), exact, watched, record(run.model) as recorded:
            logits = forward_window(run.model, window, prepared.plan)[0].float()
    found = {one.name: _on_cpu(one) for one in recorded if one.kind == "position"}
    return Glance(start, found, changes, strongest_class(logits).cpu())


def attended(
    prepared: Prepared, seen: Glance, at: Sequence[float], name: str | None, direction: str
) -> Attended:
    """Return a row of position attention, which sums to 1, or a column.

    Args:
        prepared: The case.
        seen: The window, from `glance`.
        at: World RAS mm; the cell of the level that holds it answers.
        name: Of a position map; None is the first.
        direction: ``"row"``: what the place attends to; ``"column"``: what attends to it.

    Raises:
        ExplainError: If there is no such map, or no position attention at all.
    """
    one = _chosen(seen, name)
    if direction not in DIRECTIONS:
        raise ExplainError(f"The direction is {direction!r}; use {' or '.join(DIRECTIONS)}.")
    queries, keys = _grids(prepared, seen, one)
    cell = _nearest(queries.voxel(np.array(at)), queries.shape_dhw)
    if direction == "row":
        values, grid = one.row(cell)[0, 0], keys
    else:
        values, grid = column(one, _nearest(keys.voxel(np.array(at)), keys.shape_dhw)), queries
    facts = _facts(prepared, seen, one, direction)
    here = queries.world(np.array(cell, dtype=np.float64))
    numbers = _numbers(prepared, seen, one, (values.numpy(), grid, here))
    volume = Volume(values[None].numpy(), grid.affine).parallel_to(prepared.image.grid)
    info = {
        **facts,
        **numbers,
        "at": [float(mm) for mm in at],
        "voxel_ras": here.tolist(),
        "range": [float(values.min()), float(values.max())],
        "shape_dhw": list(volume.shape_dhw),
        "affine_ras": volume.affine.tolist(),
    }
    return Attended(volume, {**info, "caption": _caption(info)})


def column(one: RecordedMap, cell: Size) -> Tensor:
    """Return how much each voxel of a level attends to one key, ``(d, h, w)``.

    Args:
        one: Of the position kind.
        cell: Index of the key.
    """
    key = cast("Tensor", one.key)
    if one.dims == 2:
        # A voxel of a flat network attends to its own slice only.
        found = torch.zeros(one.tensor.shape[2:])
        d, h, w = cell
        flat = _column(one.tensor[0, :, d], key[0, :, d], h * key.shape[4] + w)
        found[d] = flat.reshape(one.tensor.shape[3:])
        return found
    index = int(np.ravel_multi_index(cell, key.shape[2:]))
    return _column(one.tensor[0], key[0], index).reshape(one.tensor.shape[2:])


def _column(query: Tensor, key: Tensor, index: int) -> Tensor:
    flat, keys = query.flatten(1), key.flatten(1)  # (c, N), (c, M)
    parts = []
    for some in flat.split(QUERIES_AT_ONCE, dim=1):
        energy = some.T @ keys  # (n, M)
        parts.append((energy[:, index] - energy.logsumexp(dim=1)).exp())
    return torch.cat(parts)


def _chosen(seen: Glance, name: str | None) -> RecordedMap:
    if not seen.maps:
        raise ExplainError(
            "This network has no attention between positions, so no place attends to another; "
            "choose one with dual-position, dual or nonlocal."
        )
    if name is None:
        return next(iter(seen.maps.values()))
    if name not in seen.maps:
        raise ExplainError(
            f"There is no position attention {name!r}; this network has {', '.join(seen.maps)}."
        )
    return seen.maps[name]


def _grids(prepared: Prepared, seen: Glance, one: RecordedMap) -> tuple[Grid, Grid]:
    """Return the grids of queries and keys of a window, in the patient's space."""
    layer = prepared.run.model.layer_grid(one.layer, prepared.plan.window)
    window = prepared.grid.cropped(seen.start, prepared.plan.window)
    queries = window.strided(one.size, layer.stride_dhw, layer.offset_dhw)
    key = cast("Tensor", one.key)
    return queries, queries.resized(cast("Size", tuple(key.shape[2:])))


def _facts(prepared: Prepared, seen: Glance, one: RecordedMap, direction: str) -> dict[str, Any]:
    run, site = prepared.run, one.name.partition(".")[0]
    change = seen.changes.get(site, 0.0)
    remarks = []
    if change < UNUSED:
        remarks.append(
            f"This attention is hardly used: it changes what passes by {100 * change:.2g} %, so "
            "what it attends to does not show in the result."
        )
    return {
        "kind": "attend",
        "direction": direction,
        "name": one.name,
        "layer": one.layer,
        "window": {"start_dhw": list(seen.start), "shape_dhw": list(prepared.plan.window)},
        "effect": change,
        "unused": change < UNUSED,
        "remarks": remarks,
        "run": run.id,
        "weights": run.weights,
        "weights_sha256": run.weights_sha256,
    }


def _numbers(
    prepared: Prepared,
    seen: Glance,
    one: RecordedMap,
    weighed: tuple[np.ndarray, Grid, np.ndarray],
) -> dict[str, Any]:
    """Return entropy, mean distance, and how much stays within the class of the place."""
    values, grid, here = weighed
    shares = values.astype(np.float64) / max(float(values.sum()), 1e-30)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    entropy = float(-(shares * logs).sum())
    cells = values.size if one.dims == 3 else values[0].size
    places = np.stack(np.meshgrid(*map(np.arange, grid.shape_dhw), indexing="ij"), axis=-1)
    apart = np.linalg.norm(grid.world(places) - here, axis=-1)
    window = prepared.grid.cropped(seen.start, prepared.plan.window)
    index = int(seen.labels[_nearest(window.voxel(here), window.shape_dhw)])
    same = _share_of_class(seen.labels.numpy() == index, grid, window)
    value = prepared.run.values[index]
    return {
        "entropy": entropy / math.log(cells) if cells > 1 else 0.0,
        "effective_cells": math.exp(entropy),
        "cells": cells,
        "mean_distance_mm": float((shares * apart).sum()),
        "same_class_share": float((shares * same).sum()),
        "even_share": float(same.mean()),
        "class": value,
        "class_name": prepared.run.classes.get(value, "background"),
    }


def _share_of_class(mask: np.ndarray, grid: Grid, window: Grid) -> np.ndarray:
    """Return which fraction of each cell's voxels a mask of the window holds."""
    heat = Heat.of(Volume(np.zeros((1, *grid.shape_dhw)), grid.affine), window)
    shape = cast("Size", mask.shape)
    blocks = Blocks.of(heat, shape, cast("Any", tuple(slice(0, n) for n in shape)))
    shares = np.zeros(heat.values.size)
    shares[blocks.cells] = blocks.means(mask)
    return shares.reshape(heat.values.shape)


def _caption(info: dict[str, Any]) -> str:
    what = "what it attends to" if info["direction"] == "row" else "what attends to it"
    return (
        f"{info['name']}, {what}: {info['class_name']} at the cross, mean distance "
        f"{info['mean_distance_mm']:.1f} mm, {100 * info['same_class_share']:.0f} % within the "
        f"same class (evenly spread: {100 * info['even_share']:.0f} %). A weight inside the "
        "network, no proof of cause."
    )


def _nearest(voxel: np.ndarray, shape: Size) -> Size:
    inside = np.clip(np.floor(voxel + 0.5), 0, np.array(shape) - 1).astype(int)
    return cast("Size", tuple(int(v) for v in inside))


def _on_cpu(one: RecordedMap) -> RecordedMap:
    return replace(one, tensor=one.tensor.cpu(), key=None if one.key is None else one.key.cpu())
