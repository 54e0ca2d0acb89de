"""Where a map lies: energy inside, pointing game, ranks (Kohlbrenner et al., 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_attnseg.axes import Spacing
from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.measure import MEASURES, CheckedMap, Measure, Result, Work


@MEASURES.register("localisation")
class Localisation(Measure):
    """How much of the map lies inside the structure: energy, the strongest place, and ranks.

    This says where a map lies, not whether it is right: a network may use the surroundings.
    """

    title = "Inside the structure"
    forms = ("quick", "full")
    better = "none"

    def windows(self, checked: CheckedMap) -> int:
        return 0

    def steps(self, checked: CheckedMap) -> Work[Result]:
        yield from ()
        region = np.asarray(checked.subject.region)
        tolerance = max(
            s * mm / 2 for s, mm in zip(checked.heat.stride, checked.spacing, strict=True)
        )
        found = located(checked.heat, region, checked.spacing, tolerance)
        share = float(region.mean())
        bars = [
            {"name": "map", "title": "this map", "value": found["energy_inside"], "spread": None},
            {"name": "random", "title": "evenly spread", "value": share, "spread": None},
        ]
        return Result(found["energy_inside"], _sentence(found), bars, [], found)


def located(
    heat: Heat,
    region: np.ndarray,
    spacing: Spacing = (1.0, 1.0, 1.0),
    tolerance_mm: float = 0.0,
) -> dict[str, Any]:
    """Return where positive values lie; None where there is no such number.

    All voxels count, each with the value of its cell; only cells and the voxels of the region
    are ever held, so that a large volume costs no more than a small one.

    Args:
        heat: The map.
        region: Boolean ``(D, H, W)``.
        spacing: Voxel size in mm along D, H and W.
        tolerance_mm: How far from the region its strongest place may lie and still hit it.

    Returns:
        ``energy_inside``: positive values in the region over all positive values (RMA).
        ``hits`` and ``peak_distance_mm``: whether a largest value lies in the region, and how far
        from it. ``rank_inside``: of as many of the largest values as the region has voxels, the
        fraction inside it (RRA). ``auc``: area under the ROC curve.
    """
    names = ("energy_inside", "hits", "peak_distance_mm", "rank_inside", "auc")
    if not region.any():
        return {**dict.fromkeys(names), "tolerance_mm": tolerance_mm}
    values, shape = heat.values.astype(np.float64), heat.values.shape
    cells = [heat.cell_of(axis, region.shape[axis]) for axis in range(3)]
    counts = [np.bincount(at, minlength=n) for at, n in zip(cells, shape, strict=True)]
    voxels = np.einsum("d,h,w->dhw", *counts)
    where = [at[index] for at, index in zip(cells, region.nonzero(), strict=True)]
    flat = np.ravel_multi_index(where, shape)
    inside = np.bincount(flat, minlength=values.size).reshape(shape)
    energy = np.maximum(values, 0)
    total = float((energy * voxels).sum())
    best = (values == values[voxels > 0].max()) & (voxels > 0)
    apart = _apart(best, cells, region, spacing) if total > 0 else None
    return {
        "energy_inside": float((energy * inside).sum()) / total if total > 0 else None,
        "hits": None if apart is None else bool(apart <= tolerance_mm),
        "peak_distance_mm": apart,
        **_ranks(values.reshape(-1), inside.reshape(-1), (voxels - inside).reshape(-1)),
        "tolerance_mm": float(tolerance_mm),
    }


def _apart(
    best: np.ndarray, cells: list[np.ndarray], region: np.ndarray, spacing: Spacing
) -> float:
    """Return the distance in mm from the region to the nearest voxel of the best cells."""
    box = []
    for axis, at in enumerate(cells):
        others = tuple(other for other in range(3) if other != axis)
        hit = np.flatnonzero(np.asarray(best.any(axis=others))[at])
        mine = np.flatnonzero(region.any(axis=others))
        # Nothing is reckoned beyond the box around the region and the best cells.
        box.append(slice(min(hit[0], mine[0]), max(hit[-1], mine[-1]) + 1))
    d, h, w = (at[one] for at, one in zip(cells, box, strict=True))
    distance = distance_transform_edt(~region[tuple(box)], sampling=spacing)
    return float(distance[best[np.ix_(d, h, w)]].min())


def _ranks(values: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> dict[str, Any]:
    """Return ranks of voxels, from how many of each cell lie inside and outside.

    Equal values count as if they came in random order.
    """
    order = np.argsort(-values, kind="stable")
    edges = np.flatnonzero(np.diff(values[order])) + 1
    starts = np.concatenate([[0], edges])
    hits = np.add.reduceat(inside[order], starts).astype(np.float64)
    misses = np.add.reduceat(outside[order], starts).astype(np.float64)
    count, others = hits.sum(), misses.sum()
    sizes = hits + misses
    before = np.cumsum(sizes) - sizes
    taken = np.clip(count - before, 0, sizes)
    found = float((taken * hits / np.maximum(sizes, 1)).sum() / count)
    higher = np.cumsum(hits) - hits  # inside voxels that rank above a group
    auc = float((misses * (higher + hits / 2)).sum() / (count * others)) if others else None
    return {"rank_inside": found, "auc": auc}


def _sentence(found: dict[str, Any]) -> str:
    if found["energy_inside"] is None:
        return "The map has no positive value, so none lies inside the structure."
    apart = found["peak_distance_mm"]
    where = "inside the structure" if apart == 0 else f"{apart:.1f} mm outside the structure"
    return (
        f"{100 * found['energy_inside']:.0f} % of the positive evidence lies inside the "
        f"structure; the strongest place is {where}."
    )
