"""Axial, sagittal and coronal views, with letters at the edges that say which side is which."""

from __future__ import annotations

from typing import Any

import napari
from napari.components.overlays import TextOverlay

from napari_attnseg.gui.viewer.facts import facts_of
from napari_attnseg.volume import Grid

PLANES = {
    "axial": ("SI", "AP", "RL"),
    "sagittal": ("RL", "SI", "AP"),
    "coronal": ("AP", "SI", "RL"),
}
"""Axis that is scrolled through, that of the rows and that of the columns, as pairs of letters."""

POSITIONS = ("middle_left", "middle_right", "top_center", "bottom_center")
_PAIR = {"S": "SI", "I": "SI", "A": "AP", "P": "AP", "R": "RL", "L": "RL"}


def axis_pairs(grid: Grid) -> tuple[str, str, str]:
    """Return which pair of directions D, H and W of a grid run along, such as ``("SI", …)``.

    The first letter of a pair is at the low end of the canvas, as `display_scale` draws it.
    """
    d, h, w = (_PAIR[letter] for letter in grid.orientation[::-1])
    return d, h, w


def plane_order(grid: Grid, plane: str) -> tuple[int, int, int]:
    """Return the order of the axes D, H, W that shows a plane of a grid."""
    pairs = axis_pairs(grid)
    first, rows, columns = (pairs.index(pair) for pair in PLANES[plane])
    return first, rows, columns


def edge_letters(grid: Grid, displayed: tuple[int, int]) -> tuple[str, str, str, str]:
    """Return the letters at the left, right, top and bottom edge for the displayed axes."""
    pairs = axis_pairs(grid)
    rows, columns = pairs[displayed[0]], pairs[displayed[1]]
    return columns[0], columns[1], rows[0], rows[1]


class Planes:
    """Turns the viewer to a plane and keeps the letters at its edges true.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self.letters: tuple[str, str, str, str] = ("", "", "", "")
        self._overlays = _add_overlays(viewer)
        viewer.dims.events.order.connect(self.refresh)
        viewer.dims.events.ndisplay.connect(self.refresh)
        viewer.dims.events.ndim.connect(self.refresh)
        viewer.layers.events.inserted.connect(self.refresh)
        viewer.layers.events.removed.connect(self.refresh)

    def grid(self) -> Grid | None:
        """Return the grid of the volume that is shown, or None if none of ours is."""
        for layer in self._viewer.layers:
            facts = facts_of(layer)
            if facts is not None:
                return facts.reference
        return None

    def show(self, plane: str) -> None:
        """Turn to ``axial``, ``sagittal`` or ``coronal``."""
        grid = self.grid()
        if grid is None or self._viewer.dims.ndim != 3:
            return
        self._viewer.dims.ndisplay = 2
        self._viewer.dims.order = plane_order(grid, plane)
        self._viewer.reset_view()

    def show_volume(self) -> None:
        """Turn to the volume rendering, or back."""
        self._viewer.dims.ndisplay = 2 if self._viewer.dims.ndisplay == 3 else 3

    def plane(self) -> str | None:
        """Return the plane that is shown, or None for a volume or another order."""
        grid = self.grid()
        if grid is None or self._viewer.dims.ndim != 3 or self._viewer.dims.ndisplay == 3:
            return None
        scrolled = self._viewer.dims.order[0]
        pair = axis_pairs(grid)[scrolled]
        return next(name for name, pairs in PLANES.items() if pairs[0] == pair)

    def refresh(self, event: Any = None) -> None:
        """Write the letters that belong to what is shown."""
        grid, dims = self.grid(), self._viewer.dims
        if grid is None or dims.ndim != 3 or dims.ndisplay != 2:
            self.letters = ("", "", "", "")
        else:
            rows, columns = dims.displayed
            left, right, top, bottom = edge_letters(grid, (rows, columns))
            down, across = self._viewer.camera.orientation2d
            if across == "left":
                left, right = right, left
            if down == "up":
                top, bottom = bottom, top
            self.letters = (left, right, top, bottom)
        for overlay, letter in zip(self._overlays, self.letters, strict=True):
            overlay.text, overlay.visible = letter, bool(letter)


def _add_overlays(viewer: napari.Viewer) -> list[TextOverlay]:
    overlays = []
    for position in POSITIONS:
        overlay = TextOverlay(text="", position=position, font_size=14, color="#FFD24A")
        viewer.canvas.overlays[f"attnseg_{position}"] = overlay
        overlays.append(overlay)
    return overlays
