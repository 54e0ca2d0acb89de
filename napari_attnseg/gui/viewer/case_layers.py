"""The layers of the open case: what is shown, in which order, and what was painted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer

from napari_attnseg.gui.viewer.facts import (
    KEY,
    ROLES,
    LayerFacts,
    class_features,
    facts_of,
    label_colormap,
    label_values_on,
)
from napari_attnseg.gui.viewer.maps import map_colormap, map_limits
from napari_attnseg.session import OpenCase
from napari_attnseg.session.explanations import MapView
from napari_attnseg.session.predictions import PredictionView
from napari_attnseg.volume import Volume, display_place, display_scale

MAP_OPACITY = 0.5


class CaseLayers:
    """Puts a case and its results into a viewer and takes them away with it.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self.case: OpenCase | None = None
        self.is_changed = False
        self.labels: Labels | None = None
        self._classes: dict[int, str] = {}

    def show_case(self, case: OpenCase, classes: Mapping[int, str]) -> None:
        """Show a case's images and labels instead of the case before."""
        self.remove()
        self.case, self._classes = case, dict(classes)
        self._images = [self._add_image(case, *one) for one in case.images]
        for image in self._images[1:]:
            image.visible = False
        self.labels = self._add_labels(case)
        self.is_changed = False
        self._viewer.layers.selection.active = self.labels

    def remove(self) -> None:
        """Take everything of the case away; what others added stays."""
        self.labels, self.is_changed = None, False
        if self.case is None:
            return
        for layer in self._ours():
            self._viewer.layers.remove(layer)
        self.case = None

    def painted(self) -> np.ndarray | None:
        """Return a copy of the label values on the grid of the case's image."""
        if self.labels is None or self.case is None:
            return None
        values = label_values_on(self.labels, self.case.image.grid)
        return None if values is None else np.array(values)

    def has_labels(self) -> bool:
        """Whether anything is labelled."""
        return self.labels is not None and bool(np.any(self.labels.data))

    def show_prediction(self, view: PredictionView | None, shown: str = "mask") -> None:
        """Show a prediction as ``mask``, ``outline``, ``probability`` or ``uncertainty``."""
        self._remove_roles("prediction", "probability", "uncertainty")
        if view is None or self.case is None or view.case != self.case.name:
            return
        tail = f"(run {view.run.short})"
        if view.uncertainty is not None:
            self._add_scalar(view, view.uncertainty, f"uncertainty {tail}", "uncertainty")
        self._add_probabilities(view, tail)
        layer = self._new_labels(
            f"{view.case} · prediction {tail}", np.array(view.labels.data[0]), view.run.classes
        )
        layer.metadata = self._metadata("prediction", view.labels, view.run.id)
        layer.opacity, layer.editable = 0.55, False
        self._insert(layer, "prediction")
        self.set_shown(shown)

    def set_shown(self, shown: str) -> None:
        """Switch between mask, outline, probability and uncertainty."""
        for layer in self._ours("prediction"):
            layer.visible = shown in ("mask", "outline")
            layer.contour = 1 if shown == "outline" else 0
        for role in ("probability", "uncertainty"):
            for index, layer in enumerate(self._ours(role)):
                layer.visible = shown == role and index == 0

    def show_map(self, view: MapView) -> Image | None:
        """Show a map in its own cells over the image; the map before is replaced."""
        self._remove_roles("map")
        if view.volume is None or self.case is None or view.case != self.case.name:
            return None
        reference = self.case.image.grid
        scale, translate = display_place(view.volume.grid, reference)
        is_signed = view.is_signed and bool((view.volume.data < 0).any())
        layer = Image(
            view.volume.data[0],
            name=view.title,
            scale=scale,
            translate=translate,
            colormap=map_colormap(is_signed=is_signed),
            contrast_limits=map_limits(view.volume, is_signed=is_signed),
            blending="translucent",
            opacity=MAP_OPACITY,
            interpolation2d="linear",
            metadata=self._metadata("map", view.volume, view.run.id),
        )
        self._insert(layer, "map")
        return layer

    def toggle(self, *roles: str) -> None:
        """Show layers of these roles if none is shown, else hide them."""
        layers = self._ours(*roles)
        show = not any(layer.visible for layer in layers)
        for layer in layers:
            layer.visible = show

    def go_to_slice(self, axis: int, index: int) -> None:
        """Scroll to a voxel index along D, H or W of the case's image."""
        if self.case is not None:
            at = index * display_scale(self.case.image.grid)[axis]
            self._viewer.dims.set_point(axis, at)

    def adopt(self, layer: Layer) -> bool:
        """Give a labels layer made in napari over our image the image's own grid.

        Returns:
            Whether it lies on the grid of the open case's image.
        """
        if self.case is None or not isinstance(layer, Labels) or facts_of(layer) is not None:
            return False
        grid = self.case.image.grid
        values = label_values_on(layer, grid)
        if values is None:
            return False
        # Its voxels may run the other way along an axis; from now on they run as the image's do.
        layer.data = np.ascontiguousarray(values)
        layer.scale, layer.translate = display_scale(grid), (0.0, 0.0, 0.0)
        layer.metadata = self._metadata("labels", self.case.image, "")
        layer.colormap = label_colormap(self._classes)
        return True

    def take_as_labels(self, layer: Labels) -> bool:
        """Use the values of another labels layer as the case's labels."""
        if self.case is None or self.labels is None:
            return False
        values = label_values_on(layer, self.case.image.grid)
        if values is None:
            return False
        self.labels.data = np.array(values)
        self.is_changed = True
        return True

    def _add_image(self, case: OpenCase, channel: str, volume: Volume) -> Image:
        reference = case.image.grid
        scale, translate = display_place(volume.grid, reference)
        layer = Image(
            volume.data[0],
            name=f"{case.name} · {channel}",
            scale=scale,
            translate=translate,
            colormap="gray",
            contrast_limits=case.windows.get(channel, (0.0, 1.0)),
            metadata=self._metadata("image", volume, ""),
        )
        self._insert(layer, "image")
        return layer

    def _add_labels(self, case: OpenCase) -> Labels:
        if case.label is None:
            data = np.zeros(case.image.shape_dhw, dtype=np.uint8)
        else:
            data = np.array(case.label.data[0])
        layer = self._new_labels(f"{case.name} · labels", data, self._classes)
        layer.metadata = self._metadata("labels", case.label or case.image, "")
        layer.selected_label = min(self._classes, default=1)
        layer.preserve_labels = False
        for name in ("paint", "labels_update", "data"):
            getattr(layer.events, name).connect(self._note_change)
        self._insert(layer, "labels")
        return layer

    def _add_probabilities(self, view: PredictionView, tail: str) -> None:
        volume = view.probabilities
        if volume is None:
            return
        names = [view.run.classes[value] for value in sorted(view.run.classes)]
        first = volume.data.shape[0] - len(names)
        for index, name in enumerate(names):
            one = volume.on_grid(volume.data[first + index])
            self._add_scalar(view, one, f"probability of {name} {tail}", "probability")

    def _add_scalar(self, view: PredictionView, volume: Volume, what: str, role: str) -> None:
        if self.case is None:
            return
        scale, translate = display_place(volume.grid, self.case.image.grid)
        layer = Image(
            volume.data[0],
            name=f"{view.case} · {what}",
            scale=scale,
            translate=translate,
            colormap=map_colormap(is_signed=False),
            contrast_limits=map_limits(volume, is_signed=False),
            blending="translucent",
            opacity=0.7,
            visible=False,
            metadata=self._metadata(role, volume, view.run.id),
        )
        self._insert(layer, role)

    def _new_labels(self, name: str, data: np.ndarray, classes: Mapping[int, str]) -> Labels:
        assert self.case is not None
        return Labels(
            data,
            name=name,
            scale=display_scale(self.case.image.grid),
            colormap=label_colormap(dict(classes)),
            features=class_features(classes),
            opacity=0.6,
        )

    def _metadata(self, role: str, volume: Volume, run: str) -> dict[str, Any]:
        assert self.case is not None
        reference = self.case.image.grid
        return {KEY: LayerFacts(role, volume, reference, self.case.name, run)}

    def _insert(self, layer: Layer, role: str) -> None:
        rank = ROLES.index(role)
        at = 0
        for index, other in enumerate(self._viewer.layers):
            facts = facts_of(other)
            if facts is None or ROLES.index(facts.role) <= rank:
                at = index + 1
        active = self._viewer.layers.selection.active
        self._viewer.layers.insert(at, layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _ours(self, *roles: str) -> list[Any]:
        if self.case is None:
            return []
        found = []
        for layer in self._viewer.layers:
            facts = facts_of(layer)
            if facts is not None and facts.case == self.case.name:
                found += [layer] if not roles or facts.role in roles else []
        return found

    def _remove_roles(self, *roles: str) -> None:
        for layer in self._ours(*roles):
            self._viewer.layers.remove(layer)

    def _note_change(self, event: Any = None) -> None:
        self.is_changed = True
