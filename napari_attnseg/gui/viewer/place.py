"""The cursor's place in the patient, in RAS mm, at the right of napari's status bar."""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QLabel

from napari_attnseg.axes import Spacing
from napari_attnseg.gui.viewer.facts import facts_of
from napari_attnseg.volume import Grid, display_scale


def place_words(grid: Grid, cursor: tuple[float, ...], scale: Spacing | None = None) -> str:
    """Return the cursor's place in words, such as ``R 12.3  A 4.0  S 31.5 mm``.

    Args:
        grid: The image's grid.
        cursor: Position in the viewer.
        scale: `display_scale` of the grid, where it is known already.
    """
    voxel = np.array(cursor[-3:]) / (scale or display_scale(grid))
    r, a, s = grid.world(voxel)
    sides = (("R", "L", r), ("A", "P", a), ("S", "I", s))
    return "  ".join(f"{plus if mm >= 0 else minus} {abs(mm):.1f}" for plus, minus, mm in sides)


class Place(QLabel):
    """A label that follows the cursor over the shown volume.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__("")
        self.setToolTip(
            "Place of the cursor in the patient: right or left, anterior or "
            "posterior, superior or inferior of the origin, in mm"
        )
        self._viewer = viewer
        self._known: tuple[Grid, Spacing] | None = None
        viewer.cursor.events.position.connect(self._follow)

    def _follow(self, event: Any = None) -> None:
        cursor = self._viewer.cursor.position
        grid = next(
            (f.reference for f in map(facts_of, self._viewer.layers) if f is not None), None
        )
        if grid is None or len(cursor) < 3:
            self.setText("")
        else:
            if self._known is None or self._known[0] is not grid:
                # Worth keeping: every slice that is scrolled past asks for it.
                self._known = (grid, display_scale(grid))
            self.setText(f"{place_words(grid, tuple(cursor), self._known[1])} mm")
