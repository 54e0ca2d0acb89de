"""Weights of slices, and profiles along an axis, as curves that belong to slices of the image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.inference.window import Canvas
from napari_attnseg.models.recording import RecordedMap
from napari_attnseg.volume import Grid

CURVE_KINDS = ("slice", "axis")
KEY_MARKER = "key_slices"
"""Marker of slices that a module itself chose, channel by channel."""
MOST = 0.5
"""A slice is shown as a key slice where at least so many channels chose it."""

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_AXES = "dhw"


class CurveSum:
    """Mean and quartiles over channels at each slice, put together from windows.

    Args:
        one: What was recorded in a window; kind slice or axis.
        canvas: On which the cells of all windows lie.
    """

    def __init__(self, one: RecordedMap, canvas: Canvas) -> None:
        self.axis = curve_axis(one)
        self.canvas = canvas
        self.total = torch.zeros(3, canvas.size[self.axis])

    def add(self, start: Size, one: RecordedMap) -> None:
        """Add a window's curve, weighted as the window is at each slice."""
        profile = channel_profiles(one, self.axis)  # (C, n)
        quartiles = torch.quantile(profile, profile.new_tensor([0.25, 0.75]), dim=0)
        values = torch.cat([profile.mean(dim=0, keepdim=True), quartiles])  # (3, n)
        first = round(start[self.axis] / self.canvas.stride[self.axis])
        weight = self._weight(start)
        here = slice(first, first + len(weight))
        self.total[:, here] += values[:, : len(weight)] * weight

    def _weight(self, start: Size) -> Tensor:
        """Return what the window counts for at each of its slices; all windows add up to one."""
        weight = self.canvas.weight(start)
        for axis in range(3):
            first = round(start[axis] / self.canvas.stride[axis])
            weight = weight.narrow(
                axis, 0, min(weight.shape[axis], self.canvas.size[axis] - first)
            )
        others = [axis for axis in range(3) if axis != self.axis]
        cells = math.prod(self.canvas.size[axis] for axis in others)
        return weight.sum(dim=others) / cells


def curve_axis(one: RecordedMap) -> int:
    """Return the axis of D, H and W along which a map of kind slice or axis varies."""
    letter = one.name.rpartition("_")[2]
    if one.kind == "axis" and letter in _AXES:
        return _AXES.index(letter)
    # In 2 dimensions, where every slice is seen by itself, rows are taken for slices.
    first = 0 if one.dims == 3 else 1
    varying = [axis for axis in range(first, 3) if one.tensor.shape[2 + axis] > 1]
    return varying[0] if len(varying) == 1 else first


def channel_profiles(one: RecordedMap, axis: int) -> Tensor:
    """Return one curve per channel, ``(C, n)``, of the first sample."""
    others = [1 + other for other in range(3) if other != axis]
    profile = one.tensor[0].mean(dim=others).float().cpu()  # (C, n) or (C, 1)
    return profile.expand(-1, one.size[axis])


@dataclass(frozen=True)
class Placed:
    """Slices of a layer as places in an image.

    Args:
        grid: Of the network.
        image: Of the image as stored.
    """

    grid: Grid
    image: Grid

    def along(self, canvas: Canvas, axis: int) -> tuple[dict[str, Any], np.ndarray]:
        """Return where the slices of a layer lie, and which of them lie in the image at all."""
        middle = (np.array(self.grid.shape_dhw) - 1) / 2
        places = np.repeat(middle[None], canvas.size[axis], axis=0)
        places[:, axis] = canvas.offset[axis] + canvas.stride[axis] * np.arange(len(places))
        world = self.grid.world(places)
        mine = image_axis(self.grid, self.image, axis)
        slices = self.image.voxel(world)[:, mine]
        inside = (slices > -0.5) & (slices < self.image.shape_dhw[mine] - 0.5)
        letter = self.image.orientation[::-1][mine]
        about = {
            "axis": mine,
            "ends": [_OPPOSITE[letter], letter],
            "image_slice": slices[inside].tolist(),
            "mm": (slices[inside] * self.image.spacing_dhw[mine]).tolist(),
            "world_ras": world[inside].tolist(),
        }
        return about, inside


def image_axis(grid: Grid, image: Grid, axis: int) -> int:
    """Return the axis of an image, of D, H and W, that runs along an axis of another grid."""
    step = np.zeros((2, 3))
    step[1, axis] = 1.0
    start, end = image.voxel(grid.world(step))
    return int(np.argmax(np.abs((end - start) * image.spacing_dhw)))


def curves(
    sums: Mapping[str, CurveSum], facts: Mapping[str, RecordedMap], grid: Grid, image: Grid
) -> list[dict[str, Any]]:
    """Return all curves, JSON-ready, each with the slices of the image that it belongs to.

    ``mean``, ``low`` and ``high`` are mean and quartiles over channels. Where a module chose key
    slices itself, ``key_share`` is the share of channels that chose a slice, and ``key`` tells
    whether most of them did.

    Args:
        sums: By name of the map.
        facts: One recording of each map.
        grid: Of the network.
        image: Of the image as stored.
    """
    placed = Placed(grid, image)
    found = []
    for name, one in sums.items():
        if name.endswith(f".{KEY_MARKER}"):
            continue
        about, inside = placed.along(one.canvas, one.axis)
        mean, low, high = (row.numpy()[inside].tolist() for row in one.total)
        chosen = sums.get(f"{name.rpartition('.')[0]}.{KEY_MARKER}")
        share = None
        if chosen is not None and facts[name].kind == "slice":
            share = cast("list[float]", chosen.total[0].numpy()[inside].tolist())
        bounds = facts[name].bounds
        found.append({
            "name": name,
            "kind": facts[name].kind,
            "layer": facts[name].layer,
            **about,
            "mean": mean,
            "low": low,
            "high": high,
            "bounds": None if bounds is None else list(bounds),
            "key_share": share,
            "key": None if share is None else [value >= MOST for value in share],
        })  # fmt: skip
    return found
