"""What methods share that change a feature or the image and look at the score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.explanation.baseline import BASELINES, baseline
from napari_attnseg.explanation.contract import Work
from napari_attnseg.explanation.view import View

FILLINGS = (*BASELINES, "zero")
"""What stands for nothing in an image: see `baseline`; or 0, the mean of normalised images."""


def batches(count: int, size: int) -> Iterator[list[int]]:
    """Yield the numbers up to a count, some at a time."""
    for first in range(0, count, size):
        yield list(range(first, min(count, first + size)))


def filling(view: View, kind: str) -> Tensor:
    """Return an image of nothing, ``(1, C, D, H, W)``.

    Args:
        view: Whose image it stands for; blurred as wide as the target is large.
        kind: One of `FILLINGS`.
    """
    if kind == "zero":
        return torch.zeros_like(view.x)
    image, mask = view.x[0].cpu().numpy(), view.target.region.numpy()
    made = baseline(image, mask, kind=kind, stride=(1.0, 1.0, 1.0), spacing=view.spacing)
    return torch.from_numpy(np.ascontiguousarray(made))[None].to(view.x)


def channels_of(view: View) -> int:
    """Return the channels of the layer."""
    if "channels" not in view.notes:
        view.keeps_activations = True
        view.notes["channels"] = view.activations(view.everywhere[0]).shape[1]
    return cast("int", view.notes["channels"])


def activation_means(view: View) -> Work[Tensor]:
    """Yield after every window, and return the mean of each channel over the volume, ``(C,)``."""
    total: Tensor | None = None
    for start in view.everywhere:
        activations = view.activations(start)
        sums = (activations[0] * view.weight(start, activations)).sum(dim=(1, 2, 3))
        total = sums if total is None else total + sums
        yield
    d, h, w = view.grid_of(activations).size
    return cast("Tensor", total) / (d * h * w)


def activation_field(view: View) -> Work[Tensor]:
    """Yield after every window, and return the layer on the whole volume, ``(C, d, h, w)``."""
    total: Tensor | None = None
    for start in view.everywhere:
        activations = view.activations(start)
        canvas = view.grid_of(activations)
        total = canvas.empty(activations.shape[1]) if total is None else total
        canvas.add(total, start, activations[0], is_weighted=True)
        yield
    return cast("Tensor", total)


def spread_over_input(view: View, field: Tensor, start: Size) -> Tensor:
    """Return values of a layer at the voxels of a window with its context, ``(C, d, h, w)``.

    Interpolated linearly between where the cells really lie; beyond them they stay the same.

    Args:
        view: The network.
        field: ``(C, d, h, w)`` of the whole volume.
        start: Of the window.
    """
    canvas = view.canvas
    assert canvas is not None
    result = field
    for axis in range(3):
        cells = field.shape[1 + axis]
        at = (_voxels(view, start, axis) - canvas.offset[axis]) / canvas.stride[axis]
        places = torch.from_numpy(np.clip(at, 0, cells - 1))[:, None]
        weights = (1 - (places - torch.arange(cells)).abs()).clamp(min=0).float()
        result = torch.tensordot(result, weights, dims=([1], [1]))  # the axis comes last
    return result


def block_mask(view: View, block: tuple[slice, slice, slice], start: Size) -> Tensor:
    """Return where a block of the volume is in a window with its context, ``(d, h, w)``."""
    d, h, w = (
        torch.from_numpy((at >= part.start) & (at < part.stop))
        for axis, part in enumerate(block)
        for at in (_voxels(view, start, axis),)
    )
    return d[:, None, None] & h[:, None] & w


def _voxels(view: View, start: Size, axis: int) -> np.ndarray:
    """Return which voxels of the volume a window with its context shows along an axis."""
    margin = view.plan.margin[axis]
    at = np.arange(start[axis] - margin, start[axis] + view.plan.window[axis] + margin)
    return np.clip(at, 0, view.plan.size[axis] - 1)
