"""What is drawn for an explanation beside its map: errors, a region, a mark, a sampled box."""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from napari.layers import Labels, Layer, Points
from napari.utils.colormaps import DirectLabelColormap

from napari_attnseg.axes import Size
from napari_attnseg.gui.viewer.facts import KEY, LayerFacts
from napari_attnseg.gui.viewer.layer_store import LayerStore
from napari_attnseg.session import OpenCase
from napari_attnseg.session.errors import INVENTED, MISSED
from napari_attnseg.volume import display_place

ERROR_COLOURS = {MISSED: "#FFFFFF", INVENTED: "#FF4FD8"}
"""White and magenta: in no map's colours, and of different lightness."""

REGION_COLOUR = "#F0E442"
BRUSH, MARK = 5, 3
OUTLINE = 1


class ExtraLayers:
    """Layers that belong to the explanation of the open case and go away with it.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._store = LayerStore(viewer)
        self._case: OpenCase | None = None

    def use_case(self, case: OpenCase | None) -> None:
        """Work with another case; the layers of the one before have gone with it."""
        self._case = case
        self._store.case_name = case.name if case is not None else None

    def show_errors(self, errors: np.ndarray | None) -> None:
        """Outline what was missed and what was invented, or take the outlines away."""
        self._remove("errors")
        if errors is None or self._case is None:
            return
        colours: dict[int | None, Any] = {0: "transparent", None: "transparent"}
        colours.update(ERROR_COLOURS.items())
        layer = self._add(
            Labels(
                errors,
                colormap=DirectLabelColormap(color_dict=colours),
                features={"index": [0, 1, 2], "class": ["right", "missed", "invented"]},
                **self._attributes("errors", f"{self._case.name} · missed, invented"),
            ),
            "errors",
        )
        layer.contour, layer.opacity, layer.editable = OUTLINE, 1.0, False

    def draw_region(self) -> Labels | None:
        """Return the layer in which a region is drawn, ready to be painted on."""
        if self._case is None:
            return None
        found = next(iter(self._store.of("region")), None)
        if found is None:
            colours: dict[int | None, Any] = {0: "transparent", None: REGION_COLOUR}
            found = self._add(
                Labels(
                    np.zeros(self._case.image.shape_dhw, dtype=np.uint8),
                    colormap=DirectLabelColormap(color_dict=colours),
                    opacity=0.4,
                    **self._attributes("region", "region to explain"),
                ),
                "region",
            )
            found.brush_size, found.n_edit_dimensions = BRUSH, 3
        found.visible = True
        self._viewer.layers.selection.active = found
        found.selected_label, found.mode = 1, "paint"
        return found

    def region(self) -> np.ndarray | None:
        """Return where a region was drawn, boolean on the image's grid, or None."""
        layer = next(iter(self._store.of("region")), None)
        if layer is None or not layer.data.any():
            return None
        return np.asarray(layer.data) > 0

    def has_region(self) -> bool:
        """Whether there is a layer to draw a region in."""
        return bool(self._store.of("region"))

    def remove_region(self) -> None:
        """Take the drawn region away."""
        self._remove("region")

    def mark(self, voxel: Size | None) -> None:
        """Mark the voxel that was clicked, or none."""
        self._remove("mark")
        if voxel is None or self._case is None:
            return
        self._add(
            Points(
                np.asarray(voxel, dtype=float)[None],
                symbol="cross",
                size=MARK,
                face_color="#00E5A8",
                border_color="#000000",
                **self._attributes("mark", "clicked voxel"),
            ),
            "mark",
        )

    def _remove(self, role: str) -> None:
        self._store.remove(self._store.of(role))

    def _add(self, layer: Layer, role: str) -> Any:
        active = self._viewer.layers.selection.active
        self._store.put(lambda *_, **__: layer, np.empty(0), {}, role)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active
        return layer

    def _facts(self, role: str) -> LayerFacts:
        assert self._case is not None
        return LayerFacts(role, self._case.image, self._case.image.grid, self._case.name)

    def _attributes(self, role: str, name: str) -> dict[str, Any]:
        assert self._case is not None
        grid = self._case.image.grid
        scale, translate = display_place(grid, grid)
        return {
            "name": name,
            "scale": scale,
            "translate": translate,
            "metadata": {KEY: self._facts(role)},
        }
