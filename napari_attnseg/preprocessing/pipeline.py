"""Volumes onto the network's grid: storage order, normalisation, spacing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from napari_attnseg.preprocessing import intensity
from napari_attnseg.preprocessing.label_values import renumbered, value_counts
from napari_attnseg.preprocessing.likeness import unlike as unlike
from napari_attnseg.preprocessing.plan import ChannelPlan, Plan
from napari_attnseg.preprocessing.resample import resample, resample_labels
from napari_attnseg.preprocessing.restore import restore_labels as restore_labels
from napari_attnseg.preprocessing.restore import restore_probabilities as restore_probabilities
from napari_attnseg.preprocessing.restore import restore_scalar as restore_scalar
from napari_attnseg.preprocessing.spacing import network_shape
from napari_attnseg.volume import Grid, Volume

IGNORED = 255
"""Channel index of voxels that nothing is learned from."""


def network_grid(grid: Grid, plan: Plan) -> Grid:
    """Return the grid that a volume has for the network: its own axes, other order and spacing."""
    stored = grid.reoriented(plan.orientation)
    return stored.resized(network_shape(stored.shape_dhw, stored.spacing_dhw, plan.spacing_dhw))  # type: ignore[arg-type]


def preprocess(image: Volume, plan: Plan) -> Volume:
    """Return an image as the network sees it, float32, with the affine of its new grid.

    Voxels that are not finite count as outside the body. Intensities are normalised before they
    are resampled, so that one damaged voxel does not spread.

    Args:
        image: ``(C, D, H, W)`` in any storage order.
        plan: The plan of the network.

    Raises:
        ValueError: If the image has another number of channels than the plan.
    """
    if image.data.shape[0] != len(plan.channels):
        names = ", ".join(channel.name for channel in plan.channels)
        raise ValueError(
            f"The image has {image.data.shape[0]} channels; the network was trained on "
            f"{len(plan.channels)} ({names})."
        )
    grid = network_grid(image.grid, plan)
    stored = image.reoriented(plan.orientation)
    data = np.empty((len(plan.channels), *grid.shape_dhw), dtype=np.float32)
    for index, channel in enumerate(plan.channels):
        data[index] = resample(normalise(stored.data[index], channel), grid.shape_dhw)
    return Volume(data, grid.affine, channels=image.channels)


def preprocess_label(
    label: Volume, plan: Plan, classes: Iterable[int], *, ignore_label: int | None = None
) -> Volume:
    """Return a label map as the network learns it, uint8, on the grid of `preprocess`.

    The first of ``classes`` becomes 1, the second 2, and so on; ``ignore_label`` becomes 255.

    Args:
        label: ``(1, D, H, W)``, integers.
        plan: The plan of the network.
        classes: Values in the label, background left out; a mapping from them to names will do.
        ignore_label: Value of voxels that nothing is learned from.

    Raises:
        ValueError: If the label holds a value that is no class, or classes are too many.
    """
    grid = network_grid(label.grid, plan)
    stored = label.reoriented(plan.orientation).data[0]
    indices = _channel_indices(np.ascontiguousarray(stored), list(classes), ignore_label)
    data = resample_labels(indices, grid.shape_dhw)
    return Volume(np.ascontiguousarray(data)[None], grid.affine)


def normalise(channel: np.ndarray, plan: ChannelPlan) -> np.ndarray:
    """Return a channel ``(D, H, W)`` normalised as planned, float32; a constant one becomes 0.

    By z-score, a case's own 0.5th and 99.5th percentile over the body set the scale, and values
    are clipped one such width beyond them: an outlier flattens nothing, and a small bright lesion
    keeps its contrast. What is outside the body gets the darkest value of the body.
    """
    if plan.kind == "ct":
        limits, floor = (plan.low, plan.high), plan.low
        centre, scale = plan.mean, plan.std
    else:
        spread = intensity.body_spread(channel, has_fill=plan.has_fill)
        width, floor = spread.high - spread.low, spread.low
        limits = (spread.low - width, spread.high + width)
        centre, scale = spread.mean, spread.std
    result = intensity.scaled(channel, limits=limits, centre=centre, scale=scale)
    if scale > 0:
        has_fill = plan.has_fill and plan.kind == "zscore"
        result[intensity.outside(channel, has_fill=has_fill)] = (floor - centre) / scale
    return result


def _channel_indices(
    label: np.ndarray, classes: list[int], ignore_label: int | None
) -> np.ndarray:
    if len(classes) >= IGNORED:
        raise ValueError(
            f"There are {len(classes)} classes; at most {IGNORED - 1} can be learned."
        )
    index = {0: 0, **{int(value): i for i, value in enumerate(classes, start=1)}}
    if ignore_label is not None:
        index[ignore_label] = IGNORED
    strange = [value for value in value_counts(label) if value not in index]
    if strange:
        known = ", ".join(map(str, classes))
        raise ValueError(
            f"The label has the value {', '.join(map(str, strange[:5]))}, which is no class; the "
            f"classes are {known}. Correct the label, or add the class."
        )
    return renumbered(label, index)
