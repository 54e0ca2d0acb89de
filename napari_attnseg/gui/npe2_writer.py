"""Saves napari layers as volumes on the grid they belong to; what has none is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
import numpy as np

from napari_attnseg.gui.viewer.volume_layers import (
    LayerData,
    NoPlaceError,
    volume_of_image,
    volume_of_labels,
)
from napari_attnseg.io import write_volume
from napari_attnseg.volume import require_same_grid


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a labels layer on the grid of its image, in the smallest type that holds it."""
    volume = volume_of_labels(data, attributes, napari.current_viewer())
    largest, least = int(volume.data.max(initial=0)), int(volume.data.min(initial=0))
    if least >= 0:
        kind = np.min_scalar_type(largest)
        volume = volume.on_grid(volume.data.astype(kind), classes=volume.classes)
    return [str(write_volume(Path(path), volume))]


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save an image layer on its own grid."""
    volume = volume_of_image(data, attributes, napari.current_viewer())
    return [str(write_volume(Path(path), volume))]


def write_channels(path: str, layers: list[LayerData]) -> list[str]:
    """Save image layers of one grid as the channels of one volume.

    Raises:
        GridMismatchError: If they are on different grids.
    """
    viewer = napari.current_viewer()
    volumes = [volume_of_image(data, attributes, viewer) for data, attributes, _ in layers]
    names = tuple(str(attributes.get("name", "")) for _, attributes, _ in layers)
    for volume, name in zip(volumes[1:], names[1:], strict=True):
        require_same_grid(volumes[0].grid, volume.grid, names=(names[0], name))
    data = np.concatenate([volume.data for volume in volumes])
    whole = volumes[0].on_grid(data, channels=names)
    return [str(write_volume(Path(path), whole))]


def refuse_mixture(path: str, layers: list[LayerData]) -> list[str]:
    """Refuse to save images and labels in one file, rather than lose one of them.

    Raises:
        NoPlaceError: Always.
    """
    raise NoPlaceError(
        "Images and labels cannot share one file. Select the labels layer alone: it is saved on "
        "the grid of its image."
    )
