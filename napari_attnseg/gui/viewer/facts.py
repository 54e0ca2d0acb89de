"""What a layer of ours remembers: which volume it shows, on which grid, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from napari.utils.colormaps import DirectLabelColormap

from napari_attnseg.gui.colours import class_colours
from napari_attnseg.volume import Grid, Volume, display_scale

KEY = "attnseg"
"""Where a layer's metadata holds its `LayerFacts`."""

ROLES = (
    "compared",
    "image",
    "uncertainty",
    "map",
    "probability",
    "prediction",
    "labels",
    "errors",
    "region",
    "box",
    "mark",
)
"""Kinds of our layers, from the lowest to the highest in the viewer."""


@dataclass(frozen=True)
class LayerFacts:
    """What one of our layers is.

    Args:
        role: One of `ROLES`.
        volume: What it shows, with the true affine and how the file held it.
        reference: The image in whose axes it is shown.
        case: Name of the case, or empty for a volume opened by itself.
        run: Id of the run that made it, or empty.
    """

    role: str
    volume: Volume
    reference: Grid
    case: str = ""
    run: str = ""


def facts_of(layer: Layer) -> LayerFacts | None:
    """Return what a layer of ours is, or None for anybody else's."""
    found = layer.metadata.get(KEY)
    return found if isinstance(found, LayerFacts) else None


def facts_in(metadata: Mapping[str, Any] | None) -> LayerFacts | None:
    """Return the facts in a layer's metadata, as a writer gets them."""
    found = (metadata or {}).get(KEY)
    return found if isinstance(found, LayerFacts) else None


def is_on_display_grid(layer: Layer, grid: Grid) -> bool:
    """Return whether a layer lies exactly where `display_scale` shows a grid."""
    return np.shape(layer.data)[-3:] == grid.shape_dhw and voxel_map(layer, grid) is not None


def voxel_map(layer: Layer, grid: Grid) -> tuple[bool, bool, bool] | None:
    """Return which axes of a layer run backwards over a grid that is shown at the origin.

    None means that the layer's voxels are not the grid's voxels.
    """
    if layer.ndim != 3 or tuple(np.shape(layer.data)) != grid.shape_dhw:
        return None
    ends = np.array([[0.0, 0.0, 0.0], np.subtract(grid.shape_dhw, 1)])
    corners = np.array([layer.data_to_world(end) for end in ends]) / display_scale(grid)
    is_backwards = np.abs(corners[0] - ends[0]) > np.abs(corners[0] - ends[1])
    wanted = np.where(is_backwards, ends[::-1], ends)
    if not np.allclose(corners, wanted, atol=0.02) or not _is_straight(layer):
        return None
    d, h, w = (bool(one) for one in is_backwards & (ends[1] > 0))
    return d, h, w


def label_values_on(layer: Labels, grid: Grid) -> np.ndarray | None:
    """Return a labels layer's values, ``(D, H, W)``, on a grid, or None if it lies elsewhere."""
    backwards = voxel_map(layer, grid)
    if backwards is None:
        return None
    steps = tuple(slice(None, None, -1) if one else slice(None) for one in backwards)
    return np.asarray(layer.data)[steps]


def label_colormap(values: Mapping[int, str] | list[int]) -> DirectLabelColormap:
    """Return napari's colours for class values; unknown values are light grey."""
    colours: dict[int | None, Any] = {0: "transparent", None: "#BBBBBB"}
    colours.update(class_colours(values).items())
    return DirectLabelColormap(color_dict=colours)


def class_features(classes: Mapping[int, str]) -> dict[str, list[Any]]:
    """Return the table that lets napari show a class's name under the cursor."""
    values = [0, *sorted(classes)]
    return {"index": values, "class": ["background", *(classes[one] for one in sorted(classes))]}


def _is_straight(layer: Layer) -> bool:
    steps = np.eye(3)
    origin = np.array(layer.data_to_world((0.0, 0.0, 0.0)))
    moves = np.array([np.array(layer.data_to_world(step)) - origin for step in steps])
    off_diagonal = moves - np.diag(np.diag(moves))
    return bool(np.abs(off_diagonal).max() < 1e-6 * np.abs(moves).max())
