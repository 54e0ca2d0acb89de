"""Click a voxel: a mode of the viewer with a hint and a cross as cursor, which Esc ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import napari
import numpy as np
from napari.components.overlays import TextOverlay
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget

from napari_attnseg.axes import Size
from napari_attnseg.volume import Grid, display_scale

OVERLAY = "attnseg_hint"
STILL = 4.0
"""Screen pixels up to which a press and its release are a click, and no drag."""

OnPick = Callable[[Size], None]


class Picker(QObject):
    """Lets a person click one voxel after another of a volume.

    Painting is put off meanwhile, so that a click cannot change labels.

    Args:
        viewer: The viewer.
        owner: A widget of the window whose Esc key ends the mode.
    """

    def __init__(self, viewer: napari.Viewer, owner: QWidget) -> None:
        super().__init__(owner)
        self._viewer = viewer
        self._grid: Grid | None = None
        self._picked: OnPick | None = None
        self._ended: Callable[[], None] | None = None
        self._mode: tuple[Any, str] | None = None
        self._escape = QShortcut(QKeySequence("Escape"), owner)
        self._escape.setContext(Qt.ShortcutContext.ApplicationShortcut)
        self._escape.setEnabled(False)
        self._escape.activated.connect(self.stop)

    @property
    def is_on(self) -> bool:
        """Whether a click picks a voxel now."""
        return self._picked is not None

    def start(
        self, grid: Grid, hint: str, picked: OnPick, ended: Callable[[], None] | None = None
    ) -> None:
        """Call a function with the voxel, along D, H and W of a grid, of each click.

        Args:
            grid: Of the volume that is shown at the origin.
            hint: What a click does, shown on the canvas.
            picked: Called with each voxel.
            ended: Called when the mode ends.
        """
        self.stop()
        self._grid, self._picked, self._ended = grid, picked, ended
        self._viewer.dims.ndisplay = 2
        layer = self._viewer.layers.selection.active
        if layer is not None and hasattr(layer, "mode"):
            self._mode = (layer, str(layer.mode))
            layer.mode = "pan_zoom"
        self._viewer.cursor.style = "cross"
        self._viewer.mouse_drag_callbacks.append(self._pressed)
        self._escape.setEnabled(True)
        overlay = hint_overlay(self._viewer)
        overlay.text, overlay.visible = f"{hint}\nEsc ends", True

    def stop(self) -> None:
        """Let clicks do what they did before."""
        if self._picked is None:
            return
        ended, self._picked, self._ended = self._ended, None, None
        if self._pressed in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._pressed)
        self._escape.setEnabled(False)
        self._viewer.cursor.style = "standard"
        hint_overlay(self._viewer).visible = False
        if self._mode is not None and self._mode[0] in self._viewer.layers:
            layer, mode = self._mode
            layer.mode = mode
        self._mode = None
        if ended is not None:
            ended()

    def pick(self, world: tuple[float, ...]) -> Size | None:
        """Take a place of the viewer as clicked; returns the voxel, or None beside the volume."""
        if self._grid is None or self._picked is None:
            return None
        voxel = voxel_at(world, self._grid)
        if voxel is not None:
            self._picked(voxel)
        return voxel

    def _pressed(self, viewer: Any, event: Any) -> Iterator[None]:
        start = np.asarray(event.pos, dtype=float)
        yield
        while event.type == "mouse_move":
            yield
        moved = np.linalg.norm(np.asarray(event.pos, dtype=float) - start)
        if moved <= STILL and event.button in (None, 1):
            self.pick(tuple(event.position))


def voxel_at(world: tuple[float, ...], grid: Grid) -> Size | None:
    """Return the voxel at a place of the viewer, or None outside the grid."""
    voxel = np.round(np.asarray(world[-3:], dtype=float) / display_scale(grid)).astype(int)
    if (voxel < 0).any() or (voxel >= grid.shape_dhw).any():
        return None
    d, h, w = (int(one) for one in voxel)
    return d, h, w


def hint_overlay(viewer: napari.Viewer) -> TextOverlay:
    """Return the viewer's line of hints, made at the first call."""
    found = viewer.canvas.overlays.get(OVERLAY)
    if not isinstance(found, TextOverlay):
        found = TextOverlay(text="", position="top_left", font_size=10, color="#F0E442")
        viewer.canvas.overlays[OVERLAY] = found
    return found
