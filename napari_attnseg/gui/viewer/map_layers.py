"""The map over the image: in its own cells, with its own limits, never smoothed."""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from napari.layers import Image

from napari_attnseg.gui.viewer.case_layers import CaseLayers
from napari_attnseg.gui.viewer.extra_layers import ExtraLayers
from napari_attnseg.gui.viewer.facts import KEY, LayerFacts
from napari_attnseg.gui.viewer.layer_store import LayerStore
from napari_attnseg.gui.viewer.maps import (
    UNUSED,
    explain_itself,
    inside,
    map_colormap,
    view_limits,
    view_signed,
)
from napari_attnseg.gui.viewer.sampled_box import SampledBoxes
from napari_attnseg.gui.viewer.side_by_side import SideBySide
from napari_attnseg.session import OpenCase
from napari_attnseg.session.maps import MapView
from napari_attnseg.volume import display_place

MAP_OPACITY = 0.5
BANDS = ("slice", "axis")
"""Weights without a place within a slice: they tint it, and no more."""
BAND_OPACITY = 0.25
OUTLINE = 1


class MapLayers:
    """Shows maps of the open case, and what belongs to them.

    Args:
        viewer: The viewer.
        layers: The layers of the open case.
    """

    def __init__(self, viewer: napari.Viewer, layers: CaseLayers) -> None:
        self._viewer, self._layers = viewer, layers
        self._store = LayerStore(viewer)
        self.extras = ExtraLayers(viewer)
        self.boxes = SampledBoxes(viewer)
        self.side = SideBySide(viewer)
        self.locked: tuple[float, float] | None = None
        self.limits: tuple[float, float] = (0.0, 1.0)

    def use_case(self, case: OpenCase | None) -> None:
        """Work with another case; the layers of the one before have gone with it."""
        self._store.case_name = case.name if case is not None else None
        self.extras.use_case(case)
        self.boxes.use_case(case)

    def show(self, view: MapView) -> Image | None:
        """Show a map instead of the one before; masks become outlines over it."""
        self.side.stop()
        case = self._layers.case
        if view.volume is None or case is None or view.case != case.name:
            self.remove()
            return None
        volume, reference = inside(view.volume, case.image.grid), case.image.grid
        is_signed = view_signed(view)
        self.limits = self._limits(view)
        scale, translate = display_place(volume.grid, reference)
        attributes: dict[str, Any] = {
            "colormap": UNUSED if view.is_unused else map_colormap(is_signed=is_signed),
            "contrast_limits": self.limits,
            "blending": "translucent",
            "name": view.title,
            "scale": scale,
            "translate": translate,
            "metadata": {KEY: LayerFacts("map", view.volume, reference, case.name, view.run.id)},
        }
        layer: Image = self._store.put(Image, volume.data[0], attributes, "map")
        # Blocky is honest: a cell is as large as what the network told apart.
        is_band = view.info.get("kind") in BANDS
        layer.opacity = BAND_OPACITY if is_band else MAP_OPACITY
        layer.visible, layer.interpolation2d = True, "nearest"
        explain_itself(layer)
        for mask in self._store.of("prediction"):
            mask.contour = OUTLINE
        self._layers.outline_labels()
        self._mark(view, case)
        return layer

    def remove(self) -> None:
        """Take the map away."""
        self._store.remove(self._store.of("map"))
        self.extras.mark(None)

    def lock(self, is_locked: bool) -> None:
        """Keep the shown limits for the maps to come, so that they can be compared."""
        self.locked = self.limits if is_locked else None

    def _limits(self, view: MapView) -> tuple[float, float]:
        if self.locked is not None and view.is_class_map:
            return self.locked
        return view_limits(view)

    def _mark(self, view: MapView, case: OpenCase) -> None:
        if view.marked_ras is None:
            self.extras.mark(None)
            return
        voxel = np.round(case.image.grid.voxel(np.array(view.marked_ras))).astype(int)
        last = np.subtract(case.image.shape_dhw, 1)
        d, h, w = (int(one) for one in np.clip(voxel, 0, last))
        self.extras.mark((d, h, w))
