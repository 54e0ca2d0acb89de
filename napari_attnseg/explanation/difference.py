"""Two maps of one case beside each other: their difference on one grid, and how alike they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from napari_attnseg.explanation.error import ExplainError
from napari_attnseg.explanation.likeness import pearson, spearman
from napari_attnseg.volume import Grid, Volume

ROBUST = 99.0
"""Percentile of magnitudes by which maps in different units are divided."""

_SAME_UNITS = ("run", "method", "layer", "class", "options")


@dataclass(frozen=True, eq=False)
class Difference:
    """The second map less the first.

    Args:
        map: On the finer of the two grids; 0 where one of the maps does not reach.
        info: JSON-ready.
    """

    map: Volume
    info: dict[str, Any] = field(default_factory=dict)


def difference(
    first: Volume, second: Volume, about: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> Difference:
    """Return how two maps of one case differ.

    Raw values are only subtracted where the maps differ in nothing but the weights: run, method
    and its options, layer, class and target must be the same. Otherwise each map is first divided
    by the 99th percentile of its own magnitudes, which keeps zero and signs.

    Args:
        first: One channel.
        second: One channel, on any grid.
        about: The records of both.

    Raises:
        ExplainError: If the maps do not overlap.
    """
    is_second_finer = second.grid.voxel_volume_ml < first.grid.voxel_volume_ml
    grid = second.grid if is_second_finer else first.grid
    parts = [resampled(one, grid) for one in (first, second)]
    known = np.isfinite(parts[0]) & np.isfinite(parts[1])
    if not known.any():
        raise ExplainError("The two maps do not overlap; they must be of one case.")
    units = "raw" if are_same_units(*about) else "scaled"
    scales = [1.0, 1.0] if units == "raw" else [robust_maximum(one[known]) for one in parts]
    a, b = (part / scale for part, scale in zip(parts, scales, strict=True))
    values = np.where(known, b - a, 0.0).astype(np.float32)
    info = {
        "kind": "difference",
        "units": units,
        "scales": scales,
        "correlation": pearson(a[known], b[known]),
        "spearman": spearman(a[known], b[known]),
        "range": [float(values.min()), float(values.max())],
        "covered": float(known.mean()),
        "shape_dhw": list(values.shape),
        "affine_ras": grid.affine.tolist(),
        "first": _kept(about[0]),
        "second": _kept(about[1]),
    }
    return Difference(Volume(values[None], grid.affine), {**info, "caption": _caption(info)})


def resampled(volume: Volume, grid: Grid) -> np.ndarray:
    """Return the first channel of a volume on another grid, linear between voxels.

    What lies more than half a voxel beyond the outermost ones is not a number.

    Args:
        volume: Stored in any order.
        grid: Any.
    """
    places = np.stack(np.meshgrid(*map(np.arange, grid.shape_dhw), indexing="ij"), axis=-1)
    at = volume.grid.voxel(grid.world(places))  # (d, h, w, 3)
    sizes = np.array(volume.shape_dhw)
    inside = ((at >= -0.5 - 1e-6) & (at <= sizes - 0.5 + 1e-6)).all(axis=-1)
    values = map_coordinates(
        volume.data[0].astype(np.float64), np.moveaxis(at, -1, 0), order=1, mode="nearest"
    )
    return np.where(inside, values, np.nan)


def are_same_units(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two records are of maps that differ in their weights only."""
    same = all(first.get(name) == second.get(name) for name in _SAME_UNITS)
    targets = [(one.get("target") or {}).get("spec") for one in (first, second)]
    return same and targets[0] == targets[1]


def robust_maximum(values: np.ndarray) -> float:
    """Return the 99th percentile of magnitudes, or the largest, or 1, where that is zero."""
    sizes = np.abs(values)
    return float(np.percentile(sizes, ROBUST)) or float(sizes.max()) or 1.0


def _kept(info: Mapping[str, Any]) -> dict[str, Any]:
    names = (*_SAME_UNITS, "class_name", "weights", "weights_sha256", "stride_mm")
    return {name: info.get(name) for name in names}


def _caption(info: dict[str, Any]) -> str:
    names = [_name(info[which]) for which in ("second", "first")]
    like = info["correlation"]
    alike = "" if like is None else f" They correlate by {like:+.2f}."
    scaled = "" if info["units"] == "raw" else ", each over its own largest value"
    return f"{names[0]} less {names[1]}{scaled}.{alike}"


def _name(one: Mapping[str, Any]) -> str:
    words = [str(one.get(key) or "?") for key in ("method", "class_name", "layer")]
    return f"{', '.join(words)} (run {one.get('run')}, {one.get('weights')})"
