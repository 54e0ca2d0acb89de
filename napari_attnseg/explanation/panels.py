"""Pictures of maps on the anatomy, for files and reports; drawn without a screen."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_attnseg.axes import Size
from napari_attnseg.explanation.colours import Colours, colours_for
from napari_attnseg.explanation.error import ExplainError
from napari_attnseg.explanation.slices import PLANES, Scene, Slice
from napari_attnseg.io import atomic_write
from napari_attnseg.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTICE = "Raw values, nothing normalised. For research use, not a medical device."
_BACK, _INK, _LINE = "#000000", "#e8edf2", "#4ce0c0"
_PLACES = {
    "left": (0.02, 0.5, "left", "center"),
    "right": (0.98, 0.5, "right", "center"),
    "top": (0.5, 0.98, "center", "top"),
    "bottom": (0.5, 0.02, "center", "bottom"),
}

Map = tuple[Volume, Mapping[str, Any]]
"""A map and its record."""


def panel_figure(
    image: Volume,
    maps: Sequence[Map],
    labels: Volume | None = None,
    *,
    value: int | None = None,
    title: str = "",
) -> Figure:
    """Return a figure of maps over an image: axial, coronal and sagittal, with real values.

    Each map has a row of slices through its largest value and, where there are labels, one
    through the middle of the structure, whose outline is drawn.

    Args:
        image: Its first channel is shown.
        maps: Each with axes parallel to the image's.
        labels: On the image's grid.
        value: Class whose outline is drawn; all if None.
        title: Above everything, such as the name of the case.

    Raises:
        ExplainError: If there is no map, or matplotlib is not installed.
    """
    figure_class = _figure_class()
    if not maps:
        raise ExplainError("There is no map to draw.")
    rows = [row for one in maps for row in _rows(image, one, labels, value)]
    height = 3.3 * len(rows) + 0.9 * len(maps) + (0.4 if title else 0.0)
    figure = figure_class(figsize=(10.4, height), facecolor=_BACK)
    grid = figure.add_gridspec(
        len(rows), 4, width_ratios=[1, 1, 1, 0.045], hspace=0.24, wspace=0.06,
        left=0.02, right=0.92, bottom=0.55 / height, top=1 - (0.75 if title else 0.4) / height,
    )  # fmt: skip
    for at, (scene, colours, where, words) in enumerate(rows):
        for column, plane in enumerate(PLANES):
            axes = figure.add_subplot(grid[at, column])
            _draw(axes, scene, colours, (plane, where[PLANES[plane]]), value)
            if column == 0:
                axes.set_title(words, color=_INK, fontsize=8, loc="left", pad=5, wrap=False)
        _colour_bar(figure.add_subplot(grid[at, 3]), colours)
    if title:
        figure.text(0.02, 1 - 0.12 / height, title, color=_INK, fontsize=12, va="top")
    figure.text(0.02, 0.1 / height, NOTICE, color="#9aa7b5", fontsize=7)
    return figure


def write_panels(path: str | Path, figure: Figure, *, dpi: int = 130) -> Path:
    """Write a figure as PNG, whole or not at all."""
    path, buffer = Path(path), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor=_BACK)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    return path


def map_caption(info: Mapping[str, Any]) -> str:
    """Return a line that names method, layer and its cells in mm, target, and weights."""
    if info.get("caption"):
        return str(info["caption"])
    target = info.get("target") or {}
    cells = " x ".join(f"{mm:.3g}" for mm in info.get("stride_mm") or ())
    parts = [
        str(info.get("method_title") or info.get("method") or info.get("kind") or "map"),
        str(target.get("text") or info.get("class_name") or ""),
        f"{info.get('layer')}, cells of {cells} mm" if cells else str(info.get("layer") or ""),
        f"run {info['run']}, {info.get('weights')} weights" if info.get("run") else "",
    ]
    return "; ".join(part for part in parts if part)


def _rows(
    image: Volume, one: Map, labels: Volume | None, value: int | None
) -> list[tuple[Scene, Colours, Size, str]]:
    heat, info = one
    scene = Scene.of(image, heat, labels)
    colours = colours_for(heat.data, info)
    caption = "\n".join(textwrap.wrap(map_caption(info), 150))
    found = [(scene, colours, scene.peak(), f"{caption}\nthrough the map's largest value")]
    centre = scene.centre(value)
    if centre is not None:
        found.append((scene, colours, centre, "through the middle of the structure"))
    return found


def _draw(
    axes: Axes, scene: Scene, colours: Colours, where: tuple[str, int], value: int | None
) -> None:
    plane, at = where
    low, high = scene.window()
    below = scene.image_slice(plane, at)
    axes.imshow(
        below.values, cmap="gray", vmin=low, vmax=high, extent=below.extent,
        interpolation="nearest",
    )  # fmt: skip
    heat = scene.heat_slice(plane, at)
    if heat is not None:
        axes.imshow(
            colours(heat.values) * [1, 1, 1, 0.75], extent=heat.extent, interpolation="nearest"
        )
    _outline(axes, scene.label_slice(plane, at), value)
    left, right, bottom, top = below.extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.set_axis_off()
    for side, letter in scene.letters(plane).items():
        x, y, across, down = _PLACES[side]
        text = axes.text(
            x, y, letter, transform=axes.transAxes, ha=across, va=down, color=_INK, fontsize=9
        )
        text.set_path_effects([_dark_border()])


def _dark_border() -> Any:
    """Return what keeps a light letter readable on bright anatomy."""
    from matplotlib.patheffects import withStroke

    return withStroke(linewidth=2.5, foreground=_BACK)


def _outline(axes: Axes, labels: Slice | None, value: int | None) -> None:
    """Draw the border of a mask's pixels, not a curve through their middles."""
    from matplotlib.collections import LineCollection

    if labels is None:
        return
    mask = labels.values > 0 if value is None else labels.values == value
    left, right, bottom, top = labels.extent
    step = np.array([(right - left) / mask.shape[1], (bottom - top) / mask.shape[0]])
    lines = np.array([left, top]) + np.array(_borders(mask)).reshape(-1, 2, 2) * step
    axes.add_collection(LineCollection(list(lines), colors=_LINE, linewidths=1.0))


def _borders(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return the sides of pixels that part a mask from the rest, as ends (column, row)."""
    padded = np.pad(mask, 1)
    rows = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])
    columns = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])
    across = [[(column, row), (column + 1, row)] for row, column in rows.tolist()]
    return across + [[(column, row), (column, row + 1)] for row, column in columns.tolist()]


def _colour_bar(axes: Axes, colours: Colours) -> None:
    ramp = np.linspace(colours.low, colours.high, 256)[:, None]
    axes.set_facecolor("#808080")
    extent = (0.0, 1.0, colours.low, colours.high)
    axes.imshow(colours(ramp), extent=extent, origin="lower", aspect="auto")
    axes.yaxis.tick_right()
    axes.set_xticks([])
    middle = (colours.low + colours.high) / 2
    axes.set_yticks([colours.low, middle, colours.high])
    axes.set_yticklabels([f"{v:.3g}" for v in (colours.low, middle, colours.high)])
    axes.tick_params(colors=_INK, labelsize=7, length=2)


def _figure_class() -> type[Figure]:
    try:
        # Not pyplot: that keeps figures alive and may open windows. This draws without a screen.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ExplainError(
            "Pictures of maps need matplotlib; install it with "
            'pip install "napari-attnseg[report]".'
        ) from error
    return Figure
