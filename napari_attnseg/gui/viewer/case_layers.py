"""The layers of the open case: what is shown, in which order, and what was painted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer

from napari_attnseg.gui.viewer.facts import (
    KEY,
    LayerFacts,
    class_features,
    facts_of,
    label_colormap,
    label_values_on,
)
from napari_attnseg.gui.viewer.layer_store import LayerStore, role_of
from napari_attnseg.gui.viewer.maps import map_colormap, map_limits
from napari_attnseg.session import OpenCase
from napari_attnseg.session.predictions import PredictionView
from napari_attnseg.volume import Volume, display_place

LABEL_OPACITY = 0.6
PREDICTION_OPACITY = 0.55
OUTLINE = 1


class CaseLayers:
    """Puts a case and its results into a viewer and takes them away with it.

    Layers are used again for the next case: making one costs napari a fifth of a second.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._store = LayerStore(viewer)
        self.case: OpenCase | None = None
        self.is_changed = False
        self.labels: Labels | None = None
        self._classes: dict[int, str] = {}
        self._is_showing = False

    def show_case(self, case: OpenCase, classes: Mapping[int, str]) -> None:
        """Show a case's images and labels instead of the case before."""
        self._is_showing = True
        self._store.remove(
            layer for layer in self._store.of() if role_of(layer) not in ("image", "labels")
        )
        images, labels = self._store.of("image"), self._store.of("labels")
        self.case, self._classes = case, dict(classes)
        self._store.case_name = case.name
        for index, (channel, volume) in enumerate(case.images):
            old = images[index] if index < len(images) else None
            self._show_image(old, channel, volume, visible=index == 0)
        self._store.remove(images[len(case.images) :])
        self._show_labels(case, labels[0] if labels else None)
        self.is_changed, self._is_showing = False, False

    def remove(self) -> None:
        """Take everything of the case away; what others added stays."""
        self._store.remove(self._store.of())
        self.labels, self.is_changed, self.case = None, False, None
        self._store.case_name = None

    def painted(self) -> np.ndarray | None:
        """Return a copy of the label values on the grid of the case's image."""
        if self.labels is None or self.case is None:
            return None
        values = label_values_on(self.labels, self.case.image.grid)
        return None if values is None else np.array(values)

    def set_labels(self, values: np.ndarray) -> None:
        """Replace the case's label values, as one step that can be undone by painting over."""
        if self.labels is not None:
            self.labels.data = np.array(values)
            self.labels.contour, self.labels.visible = 0, True
            self.is_changed = True

    def show_prediction(self, view: PredictionView | None, shown: str = "mask") -> None:
        """Show a prediction as ``mask``, ``outline``, ``probability`` or ``uncertainty``."""
        if view is None or self.case is None or view.case != self.case.name:
            self._store.remove(self._store.of("prediction", "probability", "uncertainty"))
            return
        tail = f"(run {view.run.short})"
        self._show_scalars(view, tail)
        attributes = self._label_attributes(view.run.classes)
        attributes["name"] = f"{view.case} · prediction {tail}"
        attributes["metadata"] = self._metadata("prediction", view.labels, view.run.id)
        layer = self._store.put(Labels, np.array(view.labels.data[0]), attributes, "prediction")
        layer.opacity, layer.editable = PREDICTION_OPACITY, False
        self.outline_labels()
        self.set_shown(shown)

    def set_shown(self, shown: str) -> None:
        """Switch between mask, outline, probability and uncertainty."""
        for layer in self._store.of("prediction"):
            layer.visible = shown in ("mask", "outline")
            layer.contour = OUTLINE if shown == "outline" else 0
        for role in ("probability", "uncertainty"):
            for index, layer in enumerate(self._store.of(role)):
                layer.visible = shown == role and index == 0

    def outline_labels(self) -> None:
        """Draw the labels as outlines, so that what lies below can be compared with them."""
        if self.labels is not None:
            self.labels.contour = OUTLINE

    def has(self, *roles: str) -> bool:
        """Whether the case has layers of these roles."""
        return bool(self._store.of(*roles))

    def toggle(self, *roles: str) -> None:
        """Show layers of these roles if none is shown, else hide them."""
        layers = self._store.of(*roles)
        show = not any(layer.visible for layer in layers)
        for layer in layers:
            layer.visible = show

    def toggle_off(self, *roles: str) -> None:
        """Hide layers of these roles."""
        for layer in self._store.of(*roles):
            layer.visible = False

    def go_to_slice(self, axis: int, index: int) -> None:
        """Scroll to a voxel index along D, H or W of the case's image."""
        if self.case is not None:
            scale, _ = display_place(self.case.image.grid, self.case.image.grid)
            self._viewer.dims.set_point(axis, index * scale[axis])

    def adopt(self, layer: Layer) -> bool:
        """Give a labels layer made in napari over our image the image's own grid.

        Returns:
            Whether it lies on the grid of the open case's image.
        """
        is_ours = self._is_showing or facts_of(layer) is not None
        if self.case is None or not isinstance(layer, Labels) or is_ours:
            return False
        grid = self.case.image.grid
        values = label_values_on(layer, grid)
        if values is None:
            return False
        # Its voxels may run the other way along an axis; from now on they run as the image's do.
        layer.data = np.ascontiguousarray(values)
        layer.scale, layer.translate = display_place(grid, grid)
        # It belongs to nobody's case: the person made it, and only the person removes it.
        layer.metadata = {KEY: LayerFacts("labels", self.case.image, grid)}
        layer.colormap = label_colormap(list(self._classes))
        return True

    def take_as_labels(self, layer: Labels) -> bool:
        """Use the values of another labels layer as the case's labels."""
        if self.case is None:
            return False
        values = label_values_on(layer, self.case.image.grid)
        if values is not None:
            self.set_labels(values)
        return values is not None

    def _show_image(self, old: Image | None, channel: str, volume: Volume, visible: bool) -> None:
        assert self.case is not None
        attributes = {
            "name": f"{self.case.name} · {channel}",
            "metadata": self._metadata("image", volume, ""),
            "contrast_limits": self.case.windows.get(channel, (0.0, 1.0)),
            **self._place(volume),
        }
        if old is None:
            attributes["colormap"] = "gray"
        self._store.put(Image, volume.data[0], attributes, "image", old).visible = visible

    def _show_labels(self, case: OpenCase, old: Labels | None) -> None:
        if case.label is None:
            data = np.zeros(case.image.shape_dhw, dtype=np.uint8)
        else:
            data = np.array(case.label.data[0])
        attributes = self._label_attributes(self._classes)
        attributes["name"] = f"{case.name} · labels"
        attributes["metadata"] = self._metadata("labels", case.label or case.image, "")
        layer = self._store.put(Labels, data, attributes, "labels", old)
        layer.contour, layer.visible = 0, True
        if old is None:
            layer.opacity = LABEL_OPACITY
            layer.selected_label = min(self._classes, default=1)
            for name in ("paint", "labels_update", "data"):
                getattr(layer.events, name).connect(self._note_change)
            self._viewer.layers.selection.active = layer
        self.labels = layer

    def _show_scalars(self, view: PredictionView, tail: str) -> None:
        found: list[tuple[str, str, Volume]] = []
        if view.uncertainty is not None:
            found.append(("uncertainty", "uncertainty", view.uncertainty))
        if view.probabilities is not None:
            names = [view.run.classes[value] for value in sorted(view.run.classes)]
            first = view.probabilities.data.shape[0] - len(names)
            for index, name in enumerate(names):
                one = view.probabilities.on_grid(view.probabilities.data[first + index])
                found.append(("probability", f"probability of {name}", one))
        for role in ("uncertainty", "probability"):
            old = self._store.of(role)
            new = [(what, volume) for its_role, what, volume in found if its_role == role]
            self._store.remove(old[len(new) :])
            for index, (what, volume) in enumerate(new):
                attributes = self._scalar_attributes(volume, is_signed=False)
                attributes["name"] = f"{view.case} · {what} {tail}"
                attributes["metadata"] = self._metadata(role, volume, view.run.id)
                known = old[index] if index < len(old) else None
                layer = self._store.put(Image, volume.data[0], attributes, role, known)
                layer.opacity, layer.visible = 0.7, False

    def _label_attributes(self, classes: Mapping[int, str]) -> dict[str, Any]:
        assert self.case is not None
        return {
            "colormap": label_colormap(list(classes)),
            "features": class_features(classes),
            **self._place(self.case.image),
        }

    def _scalar_attributes(self, volume: Volume, *, is_signed: bool) -> dict[str, Any]:
        return {
            "colormap": map_colormap(is_signed=is_signed),
            "contrast_limits": map_limits(volume, is_signed=is_signed),
            "blending": "translucent",
            **self._place(volume),
        }

    def _place(self, volume: Volume) -> dict[str, Any]:
        assert self.case is not None
        scale, translate = display_place(volume.grid, self.case.image.grid)
        return {"scale": scale, "translate": translate}

    def _metadata(self, role: str, volume: Volume, run: str) -> dict[str, Any]:
        assert self.case is not None
        return {KEY: LayerFacts(role, volume, self.case.image.grid, self.case.name, run)}

    def _note_change(self, event: Any = None) -> None:
        if not self._is_showing:
            self.is_changed = True
