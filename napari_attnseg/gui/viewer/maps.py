"""How maps are coloured: signed ones around zero, gates from nothing to everything."""

from __future__ import annotations

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import Colormap

from napari_attnseg.session.maps import MapView
from napari_attnseg.volume import Grid, Volume

SIGNED = Colormap(
    [
        [0.88, 0.75, 1.0, 1.0],
        [0.62, 0.36, 0.98, 0.9],
        [0.62, 0.36, 0.98, 0.45],
        [0.62, 0.36, 0.98, 0.0],
        [0.30, 0.80, 0.25, 0.0],
        [0.30, 0.80, 0.25, 0.45],
        [0.30, 0.80, 0.25, 0.9],
        [0.85, 1.0, 0.60, 1.0],
    ],
    name="attnseg signed",
    display_name="against, for",
    controls=[0.0, 0.25, 0.44, 0.4999, 0.5001, 0.56, 0.75, 1.0],
)
"""Violet speaks against, green for; zero is clear, so that the anatomy is never hidden by it.

Eyes of every kind tell the two apart, and neither is the colour of a first or second class, whose
outlines lie over the map. Each keeps its hue as it fades, and faint values are seen already.
"""

UNSIGNED = Colormap(
    [
        [0.0, 0.0, 0.02, 0.0],
        [0.34, 0.06, 0.43, 0.6],
        [0.73, 0.22, 0.33, 0.8],
        [0.98, 0.56, 0.04, 0.95],
        [0.99, 1.0, 0.64, 1.0],
    ],
    name="attnseg unsigned",
    display_name="inferno, clear at its foot",
)
"""Inferno, whose lightness grows evenly, with a clear foot."""


UNUSED = Colormap(
    [[0.2, 0.2, 0.2, 0.0], [0.75, 0.75, 0.75, 0.8]],
    name="attnseg unused",
    display_name="grey: hardly used by the network",
)
"""For weights that the network computes and hardly uses."""

TOP_SHARE = 99.9
"""Percentile of a map's values that is drawn brightest, so that one cell cannot dim the rest."""


COLOUR_BAR = (12, 110)
"""Width and height of the colour bar on the canvas, in pixels."""


def view_signed(view: MapView) -> bool:
    """Return whether a map has values on both sides of zero that mean opposite things."""
    return view.is_signed and view.volume is not None and bool((view.volume.data < 0).any())


def view_limits(view: MapView) -> tuple[float, float]:
    """Return display limits: a gate's bounds, symmetric about zero if signed, else from zero."""
    if view.bounds is not None:
        return view.bounds
    if view.volume is None:
        return 0.0, 1.0
    finite = view.volume.data[np.isfinite(view.volume.data)]
    sizes = np.abs(finite) if finite.size else np.ones(1)
    top = float(np.percentile(sizes, TOP_SHARE, method="higher")) or float(sizes.max()) or 1.0
    return (-top, top) if view_signed(view) else (0.0, top)


def map_limits(volume: Volume, *, is_signed: bool) -> tuple[float, float]:
    """Return display limits of a map: symmetric if signed, 0 to 1 for gates, else its range."""
    low, high = value_range(volume)
    if is_signed:
        top = max(abs(low), abs(high)) or 1.0
        return -top, top
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + 1.0)


def inside(volume: Volume, reference: Grid) -> Volume:
    """Return the cells of a map that overlap an image; a network also sees the border it pads.

    Args:
        volume: The map, stored in the image's axis order.
        reference: The image's grid.
    """
    ends = reference.voxel(volume.grid.world(np.array([[0, 0, 0], [1, 1, 1]])))
    first, step = ends[0], np.abs(ends[1] - ends[0])
    start, stop = [], []
    for axis, size in enumerate(volume.shape_dhw):
        centres = first[axis] + step[axis] * np.arange(size)
        overlaps = (centres + step[axis] / 2 > -0.5) & (
            centres - step[axis] / 2 < reference.shape_dhw[axis] - 0.5
        )
        kept = np.flatnonzero(overlaps)
        start.append(int(kept[0]) if kept.size else 0)
        stop.append(int(kept[-1]) + 1 if kept.size else size)
    d, h, w = (slice(*ends) for ends in zip(start, stop, strict=True))
    data = volume.data[:, d, h, w]
    grid = volume.grid.cropped((start[0], start[1], start[2]), data.shape[1:])
    return Volume(data, grid.affine, channels=volume.channels)


def value_range(volume: Volume) -> tuple[float, float]:
    """Return the least and the greatest finite value."""
    finite = volume.data[np.isfinite(volume.data)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def map_colormap(*, is_signed: bool) -> Colormap:
    """Return the colour map of a signed or unsigned map."""
    return SIGNED if is_signed else UNSIGNED


def explain_itself(layer: Image) -> None:
    """Show a map's name, and its colours with their values, on the canvas itself."""
    layer.name_overlay.visible, layer.name_overlay.position = True, "top_right"
    layer.name_overlay.color, layer.name_overlay.font_size = "#FFFFFF", 9
    bar = layer.colorbar
    bar.visible, bar.position, bar.color = True, "bottom_right", "#FFFFFF"
    bar.size, bar.font_size = COLOUR_BAR, 8
