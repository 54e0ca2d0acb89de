"""Maps side by side over copies of one image, in one canvas with one slider and one camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer

from napari_attnseg.gui.viewer.facts import KEY, LayerFacts, label_colormap
from napari_attnseg.gui.viewer.maps import explain_itself, inside, map_colormap
from napari_attnseg.session import OpenCase
from napari_attnseg.volume import Volume, display_place

MAP_OPACITY, OUTLINE = 0.5, 1
LAYERS_A_CELL = 2


@dataclass(frozen=True)
class Cell:
    """One of the pictures.

    Args:
        title: Shown in it; unlike that of every other one.
        volume: The map; None for a picture of the labels.
        limits: Display limits, the same for pictures that are to be compared.
        is_signed: Whether negative values mean the opposite of positive ones.
        labels: Label values on the image's grid, which are outlined instead of a map.
        classes: Values that these can have.
    """

    title: str
    volume: Volume | None = None
    limits: tuple[float, float] = (0.0, 1.0)
    is_signed: bool = True
    labels: np.ndarray | None = None
    classes: tuple[int, ...] = ()


class SideBySide:
    """Puts napari's grid to use: each cell shows the image again with a map of its own.

    The image's voxels are shared, so a cell costs the memory of its map. Other layers are
    hidden meanwhile, and shown again afterwards.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layers: list[Layer] = []
        self._hidden: list[Layer] = []
        self._grid: dict[str, Any] = {}

    @property
    def is_on(self) -> bool:
        """Whether maps are shown side by side now."""
        return bool(self._layers)

    def show(self, case: OpenCase, cells: Sequence[Cell]) -> None:
        """Show cells in two rows instead of the usual layers."""
        self.stop()
        self._hidden = [layer for layer in self._viewer.layers if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        made = [layer for cell in cells for layer in _cell_layers(case, cell)]
        grid = self._viewer.canvas.grid
        self._grid = {name: getattr(grid, name) for name in ("stride", "shape", "enabled")}
        # napari fills the grid in the order of the layers, so ours are the first.
        for index, layer in enumerate(made):
            self._viewer.layers.insert(index, layer)
        self._layers = made
        grid.stride, grid.shape = LAYERS_A_CELL, (2, -1)
        grid.enabled = True
        self._show_letters(gridded=True)
        self._viewer.reset_view()

    def stop(self) -> None:
        """Take the cells away and show what was shown before."""
        if not self._layers:
            return
        layers, self._layers = self._layers, []
        grid = self._viewer.canvas.grid
        grid.enabled = False
        for name, value in self._grid.items():
            setattr(grid, name, value)
        for layer in layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        for layer in self._hidden:
            layer.visible = True
        self._hidden, self._grid = [], {}
        self._show_letters(gridded=False)
        self._viewer.reset_view()

    def _show_letters(self, *, gridded: bool) -> None:
        for name, overlay in self._viewer.canvas.overlays.items():
            if name.startswith("attnseg_") and name != "attnseg_hint":
                overlay.gridded = gridded


def _cell_layers(case: OpenCase, cell: Cell) -> list[Layer]:
    channel, image = case.images[0]
    reference = case.image.grid

    def attributes(volume: Volume, name: str) -> dict[str, Any]:
        scale, translate = display_place(volume.grid, reference)
        facts = LayerFacts("compared", volume, reference, case.name)
        return {
            "name": name,
            "scale": scale,
            "translate": translate,
            "metadata": {KEY: facts},
        }

    below = Image(
        image.data[0],
        colormap="gray",
        contrast_limits=case.windows.get(channel, (0.0, 1.0)),
        **attributes(image, f"image · {cell.title}"),
    )
    above: Image | Labels
    if cell.volume is None:
        above = Labels(
            np.asarray(cell.labels),
            colormap=label_colormap(list(cell.classes)),
            **attributes(image, cell.title),
        )
        above.contour, above.editable = OUTLINE, False
    else:
        volume = inside(cell.volume, reference)
        above = Image(
            volume.data[0],
            colormap=map_colormap(is_signed=cell.is_signed),
            contrast_limits=cell.limits,
            opacity=MAP_OPACITY,
            blending="translucent",
            interpolation2d="nearest",
            **attributes(volume, cell.title),
        )
        explain_itself(above)
    above.name_overlay.visible, above.name_overlay.color = True, "#FFFFFF"
    above.name_overlay.position = "top_left"
    return [below, above]
