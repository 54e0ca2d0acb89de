"""The box that a spatial transformer samples, drawn where it cuts the slice that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import napari
import numpy as np
from napari.layers import Shapes

from napari_attnseg.gui.viewer.facts import KEY, LayerFacts
from napari_attnseg.gui.viewer.layer_store import LayerStore
from napari_attnseg.session import OpenCase
from napari_attnseg.session.attention import SampledBox
from napari_attnseg.volume import display_scale

SAMPLED, WHOLE = "#00E5A8", "#9AA3AF"
EDGE = 0.5
"""Width of a line, in voxels."""


class SampledBoxes:
    """Draws a box in 2-D as its cut through the slice, and in 3-D as its edges.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._store = LayerStore(viewer)
        self._case: OpenCase | None = None
        self._layer: Shapes | None = None
        self._box: SampledBox | None = None

    def use_case(self, case: OpenCase | None) -> None:
        """Work with another case."""
        self.remove()
        self._case = case
        self._store.case_name = case.name if case is not None else None

    @property
    def box(self) -> SampledBox | None:
        """The box that is drawn, or None."""
        return self._box

    def show(self, box: SampledBox) -> None:
        """Draw a box instead of the one before."""
        self.remove()
        if self._case is None:
            return
        grid = self._case.image.grid
        facts = LayerFacts("box", self._case.image, grid, self._case.name)
        # With a scale of its own the slider would count steps of another size.
        scale = display_scale(grid)
        layer = Shapes(ndim=3, name="sampled box", scale=scale, metadata={KEY: facts})
        active = self._viewer.layers.selection.active
        self._store.put(lambda *_, **__: layer, np.empty(0), {}, "box")
        if active is not None:
            self._viewer.layers.selection.active = active
        self._layer, self._box = layer, box
        for event in self._events():
            event.connect(self._draw)
        self._draw()

    def remove(self) -> None:
        """Take the box away."""
        layer, self._layer, self._box = self._layer, None, None
        if layer is None:
            return
        for event in self._events():
            event.disconnect(self._draw)
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _events(self) -> tuple[Any, ...]:
        events = self._viewer.dims.events
        return events.current_step, events.order, events.ndisplay

    def _draw(self, event: Any = None) -> None:
        if self._layer is None or self._box is None or self._case is None:
            return
        if self._layer not in self._viewer.layers:
            self.remove()
            return
        boxes = ((self._box.whole_ras, WHOLE), (self._box.corners_ras, SAMPLED))
        shapes, kinds, colours = [], [], []
        for corners, colour in boxes:
            if not corners:
                continue
            places = self._places(corners)
            found = self._edges(places) if self._is_3d() else self._cut(places)
            kind = "path" if self._is_3d() else "polygon"
            shapes += found
            kinds += [kind] * len(found)
            colours += [colour] * len(found)
        self._layer.data = []
        if shapes:
            self._layer.add(
                shapes,
                shape_type=kinds,
                edge_color=colours,
                face_color="transparent",
                edge_width=EDGE,
            )

    def _is_3d(self) -> bool:
        return self._viewer.dims.ndisplay == 3

    def _places(self, corners_ras: Sequence[Sequence[float]]) -> np.ndarray:
        assert self._case is not None
        grid = self._case.image.grid
        return grid.voxel(np.asarray(corners_ras))

    def _edges(self, places: np.ndarray) -> list[np.ndarray]:
        assert self._box is not None
        return [places[list(edge)] for edge in self._box.edges]

    def _cut(self, places: np.ndarray) -> list[np.ndarray]:
        assert self._box is not None
        assert self._case is not None
        axis = self._viewer.dims.order[0]
        at = self._viewer.dims.point[axis] / display_scale(self._case.image.grid)[axis]
        polygon = cut(places, self._box.edges, axis, round(at))
        return [] if polygon is None else [polygon]


def cut(
    corners: np.ndarray, edges: Sequence[tuple[int, int]], axis: int, at: float
) -> np.ndarray | None:
    """Return where a plane cuts a convex box, as a polygon in order, or None beside it.

    Args:
        corners: ``(8, 3)``.
        edges: Pairs of corners.
        axis: The plane's normal.
        at: The plane's place along it.

    Returns:
        ``(n, 3)`` with 3 <= n <= 6.
    """
    points = []
    for first, second in edges:
        a, b = corners[first], corners[second]
        if (a[axis] - at) * (b[axis] - at) > 0 or a[axis] == b[axis]:
            continue
        points.append(a + (at - a[axis]) / (b[axis] - a[axis]) * (b - a))
    if len(points) < 3:
        return None
    found = np.unique(np.round(points, 6), axis=0)
    if len(found) < 3:
        return None
    rows, columns = (one for one in range(3) if one != axis)
    off = found - found.mean(axis=0)
    found = found[np.argsort(np.arctan2(off[:, rows], off[:, columns]))]
    found[:, axis] = at
    return found
