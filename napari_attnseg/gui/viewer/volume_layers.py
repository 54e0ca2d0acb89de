"""Volumes as napari layers and back, for opening and saving outside the workbench."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels

from napari_attnseg.gui.viewer.facts import (
    KEY,
    LayerFacts,
    class_features,
    facts_in,
    facts_of,
    label_colormap,
    label_values_on,
)
from napari_attnseg.gui.viewer.lazy import keep_cache_small
from napari_attnseg.io import looks_like_labels
from napari_attnseg.io.opening import sampled
from napari_attnseg.session.display import display_window
from napari_attnseg.volume import Volume, display_scale

LayerData = tuple[Any, dict[str, Any], str]
PLACING = ("scale", "translate", "rotate", "shear", "affine")
MOST_CLASSES = 256


class NoPlaceError(ValueError):
    """A layer that cannot be saved because nothing says where in a patient it lies."""


def volume_layers(volume: Volume, name: str) -> list[LayerData]:
    """Return the layers that show a volume: labels for a mask, else one image a channel."""
    keep_cache_small(volume)
    few = Volume(sampled(volume)[None], np.eye(4)) if volume.is_lazy else volume
    if looks_like_labels(few):
        return [_labels(volume, name, few)]
    channels = volume.data.shape[0]
    if channels == 1:
        return [_image(volume, name)]
    names = volume.channels or tuple(str(n + 1) for n in range(channels))
    parts = [volume.on_grid(volume.data[n]) for n in range(channels)]
    return [_image(part, f"{name} · {one}") for part, one in zip(parts, names, strict=True)]


def volume_of_labels(
    data: np.ndarray, attributes: Mapping[str, Any], viewer: napari.Viewer | None
) -> Volume:
    """Return a labels layer as a volume on the grid of the image it belongs to.

    Raises:
        NoPlaceError: If it belongs to no image, or could belong to several.
    """
    placing = {key: attributes[key] for key in PLACING if key in attributes}
    layer = Labels(np.asarray(data), **placing)
    facts = facts_in(attributes.get("metadata"))
    references = [facts] if facts is not None else images_in(viewer)
    return _on_one_of(layer, references, str(attributes.get("name", "This layer")))


def volume_of_image(
    data: np.ndarray, attributes: Mapping[str, Any], viewer: napari.Viewer | None
) -> Volume:
    """Return an image layer as a volume on its own grid, or on that of the image it was made from.

    Raises:
        NoPlaceError: If nothing says where it lies, or several images could.
    """
    placing = {key: attributes[key] for key in PLACING if key in attributes}
    layer = Image(np.asarray(data), **placing)
    facts = facts_in(attributes.get("metadata"))
    if facts is not None and np.shape(data) == facts.volume.shape_dhw:
        return facts.volume.on_grid(np.asarray(data))
    return _on_one_of(layer, images_in(viewer), str(attributes.get("name", "This layer")))


def images_in(viewer: napari.Viewer | None) -> list[LayerFacts]:
    """Return the facts of our images in a viewer, the selected ones if any are selected."""
    layers = list(viewer.layers) if viewer is not None else []
    selected = [layer for layer in layers if viewer and layer in viewer.layers.selection]
    for some in (selected, layers):
        found = [facts for facts in map(facts_of, some) if facts and facts.role == "image"]
        if found:
            return found
    return []


def _on_one_of(layer: Labels | Image, references: Iterable[LayerFacts], name: str) -> Volume:
    fitting: list[tuple[LayerFacts, np.ndarray]] = []
    references = list(references)
    for facts in references:
        values = label_values_on(layer, facts.volume.grid)
        is_new = all(facts.volume.grid.difference(one.volume.grid) for one, _ in fitting)
        if values is not None and is_new:
            fitting.append((facts, values))
    if len(fitting) == 1:
        facts, values = fitting[0]
        return facts.volume.on_grid(np.ascontiguousarray(values), classes=facts.volume.classes)
    if not references:
        raise NoPlaceError(
            f"{name!r} cannot be saved as a volume: no image in this window says where in the "
            "patient it lies. Open its image with napari-attnseg first."
        )
    if not fitting:
        raise NoPlaceError(
            f"{name!r} cannot be saved: its voxels are not those of "
            f"{'the image' if len(references) == 1 else 'any image'} in this window. Draw on a "
            "new labels layer over the image, or move the layer back to where it was."
        )
    raise NoPlaceError(
        f"{name!r} could belong to {len(fitting)} images that lie in different places of the "
        "patient. Select the one it belongs to together with it, or open only that one."
    )


def _labels(volume: Volume, name: str, few: Volume) -> LayerData:
    data = volume.data[0] if volume.is_lazy else np.array(volume.data[0])
    values = dict(volume.classes) or {value: f"class {value}" for value in values_in(few.data[0])}
    attributes = {
        "name": name,
        "scale": display_scale(volume.grid),
        "colormap": label_colormap(values),
        "features": class_features(values),
        "metadata": _metadata("labels", volume),
    }
    return data, attributes, "labels"


def _image(volume: Volume, name: str) -> LayerData:
    attributes = {
        "name": name,
        "scale": display_scale(volume.grid),
        "colormap": "gray",
        "contrast_limits": display_window(volume),
        "metadata": _metadata("image", volume),
    }
    return volume.data[0], attributes, "image"


def _metadata(role: str, volume: Volume) -> dict[str, Any]:
    return {KEY: LayerFacts(role, volume, volume.grid), "classes": dict(volume.classes)}


def values_in(data: np.ndarray) -> list[int]:
    """Return the label values that occur, without the background, at most `MOST_CLASSES`."""
    top = int(data.max(initial=0))
    if top < 1 << 20:
        found = np.flatnonzero(np.bincount(data.reshape(-1).astype(np.int64), minlength=1))
    else:
        found = np.unique(data)
    return [int(value) for value in found if value != 0][:MOST_CLASSES]
