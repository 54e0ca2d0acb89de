"""Scores of overlapping regions, such as whole tumour and tumour core."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from napari_attnseg.cohort.region_overlap import region_overlap
from napari_attnseg.evaluation.scores import ClassScore
from napari_attnseg.io import VolumeError, as_label_map
from napari_attnseg.io.regions import (
    Regions,
    classes_of_channels,
    exclusive_classes,
    regions_of_channels,
)
from napari_attnseg.volume import Grid, Volume


def region_scores(
    prediction: np.ndarray, reference: np.ndarray, regions: Regions, grid: Grid
) -> dict[str, ClassScore]:
    """Return the scores of each region of two label maps.

    Args:
        prediction: Class values, ``(D, H, W)``.
        reference: Class values, same shape.
        regions: Which values make up which region.
        grid: On which both lie.
    """
    counted = region_overlap(prediction, reference, regions)
    return {name: ClassScore.of(name, one, grid) for name, one in counted.items()}


def as_classes(volume: Volume, name: str) -> tuple[Volume, Regions]:
    """Return a label map, and the regions that its channels are where these overlap.

    Raises:
        VolumeError: If the values are no label map, or channels overlap without being nested.
    """
    try:
        return as_label_map(volume, name), Regions({})
    except VolumeError:
        if volume.data.shape[0] < 2:
            raise
    names = volume.channels or [f"region {n}" for n in range(1, len(volume.data) + 1)]
    values = exclusive_classes(volume.data, names, name)
    classes: Mapping[int, str] = classes_of_channels(names)
    regions = regions_of_channels(names)
    return volume.replace(data=values[None], channels=(), classes=classes), regions
