"""Spatial transformer (Jaderberg et al. 2015, arXiv 1506.02025)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import check_choice
from napari_attnseg.models.grid import LayerGrid, MoveBack
from napari_attnseg.models.recording import AttentionMap
from napari_attnseg.models.sites import INPUT

MODES = ("affine", "similarity", "rotation", "scale", "translation")
MOST_LINEAR = 0.9
"""An affine map that differs from the identity by less than 1 can be inverted."""
MOST_SCALE = 0.7
MOST_SHIFT = 1.0


@ATTENTION.register("stn")
class SpatialTransformer(AttentionModule):
    """Turns, scales and shifts the image before the network, and what it labels back again.

    A small network predicts an affine map T from the image; the network sees ``x(T(p))``, and its
    logits come back as ``l(T^-1(p))``, so that they lie on the voxels of the image. It starts as
    the identity, and T can always be inverted; Jaderberg et al. 2015.

    T is recorded as ``(B, dims, dims + 1)`` in the convention of
    `torch.nn.functional.affine_grid`: x before y before z, in units of half the image, from the
    place in the network's view to the place in the image.

    Args:
        channels: C.
        dims: 2 or 3.
        context_channels: Unused.
        mode: ``"affine"`` has 6 or 12 free numbers; ``"rotation"``, ``"scale"`` (one for all
            axes) and ``"translation"`` are kept to that, ``"similarity"`` has all three.
        hidden: Units of the layer before the last.
        pooled: Cells along each axis that the predicting network sees the image in at last.
    """

    title = "Spatial transformer"
    sites = (INPUT,)
    default_sites = (INPUT,)
    kinds = ("transform",)

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        mode: str = "affine",
        hidden: int = 32,
        pooled: int = 4,
    ) -> None:
        super().__init__()
        check_choice("mode", mode, MODES)
        self.axes, self.mode = dims, mode
        turns = dims * (dims - 1) // 2
        self.counts = {
            "affine": (dims * dims, 0, 0, dims),
            "similarity": (0, turns, 1, dims),
            "rotation": (0, turns, 0, 0),
            "scale": (0, 0, 1, 0),
            "translation": (0, 0, 0, dims),
        }[mode]
        self.localiser = _localiser(dims, channels, hidden, pooled)
        self.out = nn.Linear(hidden, sum(self.counts))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.map = AttentionMap("transform", bounds=None)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.there_and_back(x)[0]

    def there_and_back(self, x: Tensor) -> tuple[Tensor, MoveBack]:
        """Return the transformed image, and what brings a map of it back to the image's place."""
        with torch.autocast(x.device.type, enabled=False):
            theta = self.map(self._transform(x.float() if x.dtype != torch.float64 else x))
        return _sample(x, theta), _back(theta, tuple(x.shape[2:]))

    def _transform(self, x: Tensor) -> Tensor:
        numbers = self.out(self.localiser(x))
        linear, turns, scale, shift = numbers.split(self.counts, dim=1)
        matrix = torch.eye(self.axes, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        if self.counts[0]:
            matrix = matrix + _at_most(linear, MOST_LINEAR).reshape_as(matrix)
        if self.counts[1]:
            # Turned in voxels: in units of half the image it would be sheared as well.
            half = x.new_tensor(x.shape[:1:-1]) / 2
            matrix = _rotation(turns, self.axes) * half / half[:, None]
        if self.counts[2]:
            matrix = matrix * _at_most(scale, MOST_SCALE).exp()[:, :, None]
        moved = _at_most(shift, MOST_SHIFT) if self.counts[3] else x.new_zeros(len(x), self.axes)
        return torch.cat([matrix, moved[:, :, None]], dim=2)  # (B, dims, dims + 1)


def _localiser(dims: int, channels: int, hidden: int, pooled: int) -> nn.Module:
    conv: Any = nn.Conv3d if dims == 3 else nn.Conv2d
    pool: Any = nn.MaxPool3d if dims == 3 else nn.MaxPool2d
    shrink: Any = nn.AdaptiveAvgPool3d if dims == 3 else nn.AdaptiveAvgPool2d
    return nn.Sequential(
        conv(channels, 8, 7, padding=3), pool(2, ceil_mode=True), nn.ReLU(),
        conv(8, 10, 5, padding=2), pool(2, ceil_mode=True), nn.ReLU(),
        shrink(pooled), nn.Flatten(), nn.Linear(10 * pooled**dims, hidden), nn.ReLU(),
    )  # fmt: skip


def _at_most(values: Tensor, most: float) -> Tensor:
    """Return rows of a norm of at most `most`, in their own direction."""
    norm = (values.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()
    return values * (most / norm).clamp(max=1)


def _rotation(angles: Tensor, dims: int) -> Tensor:
    """Return rotations, ``(B, dims, dims)``, from one angle, or three about x, y and z."""
    skew = angles.new_zeros(len(angles), dims, dims)
    planes = [(0, 1)] if dims == 2 else [(1, 2), (2, 0), (0, 1)]
    for index, (a, b) in enumerate(planes):
        skew[:, b, a] = angles[:, index]
        skew[:, a, b] = -angles[:, index]
    return torch.linalg.matrix_exp(skew)


def _back(theta: Tensor, size: tuple[int, ...]) -> Callable[[Tensor, LayerGrid], Tensor]:
    """Return what samples a map at the inverse transform, from its grid in an input of `size`."""

    def move_back(tensor: Tensor, grid: LayerGrid) -> Tensor:
        dims = len(size)
        rows = zip(
            tensor.shape[2:], size, grid.stride_dhw[-dims:], grid.offset_dhw[-dims:], strict=True
        )
        # A place p of the map, from -1 to 1, is the place scale * p + start of the input.
        scales: list[float] = []
        starts: list[float] = []
        for cells, voxels, stride, offset in rows:
            scales.insert(0, stride * cells / voxels)
            starts.insert(0, (2 * offset + stride * (cells - 1) + 1) / voxels - 1)
        scale, start = theta.new_tensor(scales), theta.new_tensor(starts)[:, None]
        with torch.autocast(theta.device.type, enabled=False):
            inverse = torch.linalg.inv(theta[:, :, :-1])
            shift = inverse @ (start - theta[:, :, -1:]) - start
            inverse, shift = inverse * scale / scale[:, None], shift / scale[:, None]
            return _sample(tensor, torch.cat([inverse, shift], dim=2))

    return move_back


def _sample(x: Tensor, theta: Tensor) -> Tensor:
    # Half precision has too few digits for places.
    wide = x.to(theta.dtype)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    sampled = F.grid_sample(wide, grid, padding_mode="border", align_corners=False)
    return sampled.to(x.dtype)
