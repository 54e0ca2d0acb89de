"""Where a map lies: energy inside, pointing game, ranks (Kohlbrenner et al., 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

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
        values = checked.heat.at_voxels(checked.shape)
        region = np.asarray(checked.subject.region)
        tolerance = max(
            s * mm / 2 for s, mm in zip(checked.heat.stride, checked.spacing, strict=True)
        )
        found = located(values, region, checked.spacing, tolerance)
        share = float(region.mean())
        bars = [
            {"name": "map", "title": "this map", "value": found["energy_inside"], "spread": None},
            {"name": "random", "title": "evenly spread", "value": share, "spread": None},
        ]
        return Result(found["energy_inside"], _sentence(found), bars, [], found)


def located(
    values: np.ndarray,
    region: np.ndarray,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    tolerance_mm: float = 0.0,
) -> dict[str, Any]:
    """Return where positive values lie; None where there is no such number.

    Args:
        values: ``(D, H, W)``.
        region: Boolean, same shape.
        spacing: Voxel size in mm along D, H and W.
        tolerance_mm: How far from the region its strongest place may lie and still hit it.

    Returns:
        ``energy_inside``: positive values in the region over all positive values (RMA).
        ``hits`` and ``peak_distance_mm``: whether a largest value lies in the region, and how far
        from it. ``rank_inside``: of as many of the largest values as the region has voxels, the
        fraction inside it (RRA). ``auc``: area under the ROC curve.
    """
    if not region.any():
        names = ("energy_inside", "hits", "peak_distance_mm", "rank_inside", "auc")
        return {**dict.fromkeys(names), "tolerance_mm": tolerance_mm}
    positive = np.maximum(values.astype(np.float64), 0)
    total = float(positive.sum())
    apart = distance_transform_edt(~region, sampling=spacing)[values == values.max()].min()
    return {
        "energy_inside": float(positive[region].sum()) / total if total > 0 else None,
        "hits": bool(apart <= tolerance_mm) if total > 0 else None,
        "peak_distance_mm": float(apart) if total > 0 else None,
        "rank_inside": _rank_inside(values, region),
        "auc": _auc(values, region),
        "tolerance_mm": float(tolerance_mm),
    }


def _rank_inside(values: np.ndarray, region: np.ndarray) -> float:
    """Return the expected fraction where equal values come in random order."""
    count = int(region.sum())
    edge = np.partition(values.reshape(-1), values.size - count)[values.size - count]
    above, equal = values > edge, values == edge
    left = count - int(above.sum())
    inside = float((above & region).sum()) + left * float((equal & region).sum() / equal.sum())
    return inside / count


def _auc(values: np.ndarray, region: np.ndarray) -> float | None:
    count, others = int(region.sum()), int(region.size - region.sum())
    if not others:
        return None
    ranks = rankdata(values.reshape(-1))[region.reshape(-1)]
    return float((ranks.sum() - count * (count + 1) / 2) / (count * others))


def _sentence(found: dict[str, Any]) -> str:
    if found["energy_inside"] is None:
        return "The map has no positive value, so none lies inside the structure."
    apart = found["peak_distance_mm"]
    where = "inside the structure" if apart == 0 else f"{apart:.1f} mm outside the structure"
    return (
        f"{100 * found['energy_inside']:.0f} % of the positive evidence lies inside the "
        f"structure; the strongest place is {where}."
    )
