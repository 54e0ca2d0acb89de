"""A short film through the slices of an image with a map over it."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_attnseg.explanation.colours import Colours, colours_for
from napari_attnseg.explanation.panels import NOTICE, map_caption
from napari_attnseg.explanation.slices import PLANES, Scene, Slice
from napari_attnseg.io import atomic_write
from napari_attnseg.volume import Volume

LONGEST = 420
"""Pixels of the longer side of a slice."""
MOST_FRAMES = 120
MOST_SAMPLES = 12
"""Frames from which the colours of the film are chosen."""
SECONDS = 0.12
_MARGIN, _BAR, _FOOT = 22, 74, 62
_INK, _LINE = (232, 237, 242), (76, 224, 192)


def write_film(
    path: str | Path,
    image: Volume,
    heat: Volume,
    info: Mapping[str, Any],
    labels: Volume | None = None,
    *,
    plane: str = "axial",
    value: int | None = None,
) -> Path:
    """Write an animated GIF through all slices, from feet to head, right to left or front to back.

    Args:
        path: Of the file, whole or not at all.
        image: Its first channel is shown.
        heat: A map with axes parallel to the image's.
        info: Its record.
        labels: On the image's grid, whose outline is drawn.
        plane: One of `PLANES`.
        value: Class whose outline is drawn; all if None.
    """
    if labels is not None and value is not None:
        labels = labels.replace(data=(labels.data == value).astype(np.uint8))
    scene = Scene.of(image, heat, labels)
    colours = colours_for(heat.data, info)
    count = scene.image.shape_dhw[PLANES[plane]]
    step = -(-count // MOST_FRAMES)
    order = range(count - 1, -1, -step) if plane == "axial" else range(0, count, step)
    frames = [_frame(scene, colours, info, (plane, at)) for at in order]
    # One palette for all, or colours would flicker.
    palette = _beside(frames[:: -(-len(frames) // MOST_SAMPLES)]).quantize(colors=256)
    small = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in frames]
    buffer = io.BytesIO()
    small[0].save(
        buffer, format="GIF", save_all=True, append_images=small[1:], loop=0,
        duration=round(1000 * SECONDS), optimize=False, disposal=1,
    )  # fmt: skip
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    return Path(path)


def _beside(frames: list[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (sum(one.width for one in frames), frames[0].height))
    for number, one in enumerate(frames):
        whole.paste(one, (number * one.width, 0))
    return whole


def _frame(
    scene: Scene, colours: Colours, info: Mapping[str, Any], where: tuple[str, int]
) -> Image.Image:
    plane, at = where
    below = scene.image_slice(plane, at)
    pixels = _pixels(scene, below, colours, where)
    height, width = pixels.shape[:2]
    wide = max(width, 300) + 2 * _MARGIN + _BAR
    frame = Image.new("RGB", (wide, height + 2 * _MARGIN + _FOOT))
    frame.paste(Image.fromarray(pixels), (_MARGIN, _MARGIN))
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(11)
    _letters(draw, font, scene.letters(plane), (width, height))
    _colour_bar(frame, draw, font, colours, height)
    world = scene.image.grid.world(np.array(_middle(scene, plane, at)))
    axis = int(np.argmax(np.abs(scene.image.affine[:3, 2 - PLANES[plane]])))
    place = f"{plane}, slice {at + 1}, {'RAS'[axis]} {world[axis]:+.1f} mm"
    lines = [place, *textwrap.wrap(map_caption(info), wide // 6), NOTICE]
    for number, line in enumerate(lines[:4]):
        y = height + _MARGIN + 16 + 13 * number
        draw.text((8, y), line, fill=_INK, font=font)
    return frame


def _pixels(scene: Scene, below: Slice, colours: Colours, where: tuple[str, int]) -> np.ndarray:
    """Return a slice with all that lies over it, as ``(rows, columns, 3)`` bytes."""
    left, right, bottom, top = below.extent
    scale = LONGEST / max(right - left, bottom - top)
    height, width = (max(1, round(scale * mm)) for mm in (bottom - top, right - left))
    y = top + (np.arange(height) + 0.5) / scale
    x = left + (np.arange(width) + 0.5) / scale
    low, high = scene.window()
    grey = np.clip((np.nan_to_num(_looked_up(below, y, x), nan=low) - low) / (high - low), 0, 1)
    found = np.repeat(grey[..., None], 3, axis=2)
    heat = scene.heat_slice(*where)
    if heat is not None:
        over = colours(_looked_up(heat, y, x))
        opacity = 0.75 * over[..., 3:]
        found = (1 - opacity) * found + opacity * over[..., :3]
    labels = scene.label_slice(*where)
    if labels is not None:
        mask = np.nan_to_num(_looked_up(labels, y, x)) > 0
        found[_edges(mask)] = np.array(_LINE) / 255
    return np.round(255 * found).astype(np.uint8)


def _looked_up(one: Slice, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the value of the cell that each pixel lies in; not a number beyond the slice."""
    left, right, bottom, top = one.extent
    rows, columns = one.values.shape
    row = np.floor((y - top) / (bottom - top) * rows).astype(int)
    column = np.floor((x - left) / (right - left) * columns).astype(int)
    values = one.values[np.ix_(np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1))]
    inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
    return np.where(inside, values.astype(np.float64), np.nan)


def _edges(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask beside one that does not belong to it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _letters(draw: Any, font: Any, letters: Mapping[str, str], size: tuple[int, int]) -> None:
    width, height = size
    places = {
        "left": (_MARGIN // 2, _MARGIN + height // 2),
        "right": (_MARGIN + width + _MARGIN // 2, _MARGIN + height // 2),
        "top": (_MARGIN + width // 2, _MARGIN // 2),
        "bottom": (_MARGIN + width // 2, _MARGIN + height + 8),
    }
    for side, letter in letters.items():
        draw.text(places[side], letter, fill=_INK, font=font, anchor="mm")


def _colour_bar(frame: Image.Image, draw: Any, font: Any, colours: Colours, height: int) -> None:
    ramp = colours(np.linspace(colours.high, colours.low, height))[:, None]
    opaque = 0.5 * (1 - ramp[..., 3:]) + ramp[..., 3:] * ramp[..., :3]
    strip = np.repeat(np.round(255 * opaque).astype(np.uint8), 12, axis=1)
    left = frame.width - _BAR
    frame.paste(Image.fromarray(strip), (left, _MARGIN))
    middle = (colours.low + colours.high) / 2
    for part, value in ((0.0, colours.high), (0.5, middle), (1.0, colours.low)):
        at = (left + 16, _MARGIN + round(part * (height - 1)))
        draw.text(at, f"{value:.3g}", fill=_INK, font=font, anchor="lm")


def _middle(scene: Scene, plane: str, at: int) -> list[float]:
    place = [(size - 1) / 2 for size in scene.image.shape_dhw]
    place[PLANES[plane]] = at
    return place
