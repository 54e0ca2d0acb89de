"""Whether a case is like those that a network learned from."""

from __future__ import annotations

from typing import cast

import numpy as np

from napari_attnseg.axes import Spacing
from napari_attnseg.preprocessing import intensity
from napari_attnseg.preprocessing.plan import ChannelPlan, Plan
from napari_attnseg.preprocessing.spacing import network_shape
from napari_attnseg.volume import Volume

SPACING_FACTOR = 1.5
EXTENT_FACTOR = 2.0
SKEW_MARGIN = 0.25
LEVEL_MARGIN = 0.5


def unlike(image: Volume, plan: Plan) -> list[str]:
    """Return, one sentence each, in what an image differs from those that were learned from.

    The list is empty for a usual case. A warning is no refusal: the result may still be good.
    """
    stored = image.reoriented(plan.orientation)
    found = _geometry(stored, plan)
    for channel, one in zip(stored.data, plan.channels, strict=False):
        found += _intensities(channel, one)
    return found


def _geometry(image: Volume, plan: Plan) -> list[str]:
    found = []
    spacing = np.array(image.spacing_dhw)
    extent = spacing * np.array(image.shape_dhw)
    if image.shape_dhw[0] == 1 < plan.shape_dhw[0]:
        found.append("This is a single slice; the network learned from volumes.")
    # The thickness of a lone slice is often made up.
    real = np.array(image.shape_dhw) > 1
    if plan.seen_spacing and _is_out(spacing[real], plan.seen_spacing, SPACING_FACTOR, real):
        found.append(
            f"Voxels of {_mm(spacing)} mm are unlike those learned from "
            f"({_mm(plan.seen_spacing[0])} to {_mm(plan.seen_spacing[1])} mm)."
        )
    if plan.seen_extent_mm and _is_out(extent[real], plan.seen_extent_mm, EXTENT_FACTOR, real):
        found.append(
            f"A volume of {_mm(extent)} mm shows more or less of the body than those learned from "
            f"({_mm(plan.seen_extent_mm[0])} to {_mm(plan.seen_extent_mm[1])} mm)."
        )
    return [*found, *_smallness(image, plan)]


def _smallness(image: Volume, plan: Plan) -> list[str]:
    """Say so where a volume is smaller than a patch, and than all that were learned from."""
    target = cast("Spacing", plan.spacing_dhw)
    shape: np.ndarray = np.array(network_shape(image.shape_dhw, image.spacing_dhw, target))
    patch, least = np.array(plan.patch_size), np.full(3, np.inf)
    if plan.seen_extent_mm:
        # Half a voxel, since sizes on the network's grid are rounded.
        least = np.array(plan.seen_extent_mm[0]) / np.array(plan.spacing_dhw) - 0.5
    is_small = (shape < patch) & (shape < least) & (np.array(image.shape_dhw) > 1)
    if not is_small.any():
        return []
    return [
        f"The volume is smaller than the patch that the network learned with ({_whole(shape)} of "
        f"{_whole(patch)} voxels), so the network sees less around each voxel."
    ]


def _intensities(channel: np.ndarray, plan: ChannelPlan) -> list[str]:
    name = plan.name or "the image"
    found = []
    missing = channel.size - int(np.isfinite(channel).sum())
    if missing:
        found.append(
            f"{missing:,} of {channel.size:,} voxels of {name} are NaN or infinite; "
            "they count as outside the body."
        )
    spread, _ = intensity.usual_spread(channel)
    if not spread.high > spread.low:
        return [*found, f"All voxels of {name} have the same value; there is nothing to see."]
    if plan.kind == "ct" and plan.seen_levels:
        found += _levels(spread, plan, name)
    elif plan.seen_skew:
        skew = (spread.median - spread.low) / (spread.high - spread.low)
        low, high = plan.seen_skew
        if not low - SKEW_MARGIN <= skew <= high + SKEW_MARGIN:
            found.append(
                f"Dark and bright are shared out differently in {name} than in the images learned "
                "from; it may be another sequence or modality."
            )
    return found


def _levels(spread: intensity.Spread, plan: ChannelPlan, name: str) -> list[str]:
    low, high = plan.seen_levels
    margin = LEVEL_MARGIN * (high - low)
    is_usual = low - margin <= spread.low and spread.high <= high + margin
    if is_usual and spread.high - spread.low > 0.05 * (high - low):
        return []
    return [
        f"Intensities of {name} from {spread.low:.4g} to {spread.high:.4g} are unlike those "
        f"learned from ({low:.4g} to {high:.4g}); they may not be Hounsfield units."
    ]


def _is_out(
    values: np.ndarray, seen: tuple[tuple[float, ...], ...], factor: float, real: np.ndarray
) -> bool:
    low, high = np.array(seen[0])[real], np.array(seen[1])[real]
    return bool(((values < low / factor) | (values > high * factor)).any())


def _whole(values: np.ndarray) -> str:
    return " x ".join(str(int(value)) for value in values)


def _mm(values: object) -> str:
    return " x ".join(f"{float(value):.3g}" for value in values)  # type: ignore[attr-defined]
