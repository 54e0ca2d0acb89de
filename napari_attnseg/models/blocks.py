"""Layers in 2 or 3 dimensions, for backbones and attention modules alike."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PerAxis = int | Sequence[int]
"""One number for all axes, or one each for D, H and W."""


class _SafeBatchNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return over_channels(x, self)
        return super().forward(x)


class _SafeInstanceNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if math.prod(x.shape[2:]) == 1:
            return over_channels(x, self)
        return super().forward(x)


class BatchNorm2d(_SafeBatchNorm, nn.BatchNorm2d):
    """Batch normalisation that also trains on one value a channel, over the channels."""


class BatchNorm3d(_SafeBatchNorm, nn.BatchNorm3d):
    """Batch normalisation that also trains on one value a channel, over the channels."""


class InstanceNorm2d(_SafeInstanceNorm, nn.InstanceNorm2d):
    """Instance normalisation that also takes maps of one pixel, over the channels."""


class InstanceNorm3d(_SafeInstanceNorm, nn.InstanceNorm3d):
    """Instance normalisation that also takes maps of one voxel, over the channels."""


class GroupNorm(nn.GroupNorm):
    """Group normalisation that also takes groups of one value, over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        if math.prod(x.shape[1:]) == self.num_groups:
            return over_channels(x, self)
        return super().forward(x)


def over_channels(x: Tensor, norm: Any) -> Tensor:
    """Normalise as ``GroupNorm(1, C)`` does, with the weights of another norm.

    One value a channel has no variance of its own: the norm would fail or erase it.
    """
    # torch's own function, since F.group_norm refuses a single value, which here gives the bias.
    return torch.group_norm(x, 1, norm.weight, norm.bias, norm.eps)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Check that an option is one of its choices.

    Raises:
        ValueError: If it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


def broadcast(weights: Tensor, x: Tensor) -> Tensor:
    """Return ``(B, C)`` or ``(B, C, d)`` with axes of one voxel added up to those of a map."""
    return weights.reshape(*weights.shape, *[1] * (x.ndim - weights.ndim))


def per_axis(value: PerAxis, dims: int) -> tuple[int, ...]:
    """Return one number per axis of the network, from one number or those of D, H and W."""
    values = (value,) * 3 if isinstance(value, int) else tuple(value)
    return values[3 - dims :]


def conv(
    dims: int, channels: int, out: int, kernel: PerAxis = 3, *, bias: bool = True
) -> nn.Module:
    """Return a convolution of stride 1 that keeps the size; kernels are odd."""
    sizes = per_axis(kernel, dims)
    padding = tuple(size // 2 for size in sizes)
    layer: Any = nn.Conv3d if dims == 3 else nn.Conv2d
    return layer(channels, out, sizes, padding=padding, bias=bias)


def strided_conv(
    dims: int, channels: int, out: int, stride: PerAxis, *, bias: bool = True
) -> nn.Module:
    """Return a convolution without padding whose kernel is its stride."""
    steps = per_axis(stride, dims)
    layer: Any = nn.Conv3d if dims == 3 else nn.Conv2d
    return layer(channels, out, steps, stride=steps, bias=bias)


def up_conv(
    dims: int, channels: int, out: int, stride: PerAxis, *, bias: bool = True
) -> nn.Module:
    """Return a transposed convolution whose kernel is its stride."""
    steps = per_axis(stride, dims)
    layer: Any = nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d
    made = layer(channels, out, steps, stride=steps, bias=bias)
    # Each output voxel has one input voxel, so this keeps the variance.
    nn.init.normal_(made.weight, std=channels**-0.5)
    return made


def max_pool(dims: int, stride: PerAxis) -> nn.Module:
    """Return max pooling whose window is its stride."""
    steps = per_axis(stride, dims)
    return nn.MaxPool3d(steps, steps) if dims == 3 else nn.MaxPool2d(steps, steps)


def upsample(dims: int, stride: PerAxis, mode: str) -> nn.Module:
    """Return interpolation, ``"nearest"`` or ``"linear"``, that multiplies the size."""
    factors = tuple(float(step) for step in per_axis(stride, dims))
    if mode == "nearest":
        return nn.Upsample(scale_factor=factors, mode="nearest")
    return nn.Upsample(scale_factor=factors, mode=_linear(dims), align_corners=False)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return a map linearly interpolated to another size that covers the same box."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode=_linear(x.ndim - 2), align_corners=False)


def norm(dims: int, kind: str, channels: int) -> nn.Module:
    """Return a normalisation: ``"batch"``, ``"instance"``, ``"group"`` or ``"none"``."""
    if kind == "none":
        return nn.Identity()
    if kind == "group":
        groups = next(n for n in (8, 4, 2, 1) if channels % (2 * n) == 0 or n == 1)
        return GroupNorm(groups, channels)
    if kind == "batch":
        return BatchNorm3d(channels) if dims == 3 else BatchNorm2d(channels)
    layer = InstanceNorm3d if dims == 3 else InstanceNorm2d
    return layer(channels, affine=True)


def activation(kind: str, channels: int) -> nn.Module:
    """Return an activation: ``"relu"``, ``"leaky"`` (slope 0.01) or ``"prelu"`` per channel."""
    if kind == "relu":
        return nn.ReLU()
    if kind == "leaky":
        return nn.LeakyReLU(0.01)
    return nn.PReLU(channels)


@dataclass(frozen=True)
class UnitStyle:
    """How convolution, normalisation and activation are put together.

    Args:
        norm: See `norm`.
        activation: See `activation`.
        norm_last: Whether the activation comes before the normalisation.
        bias: Whether convolutions have a bias.
    """

    norm: str = "instance"
    activation: str = "leaky"
    norm_last: bool = False
    bias: bool = True


def conv_unit(
    dims: int, channels: int, out: int, kernel: PerAxis, style: UnitStyle
) -> nn.Sequential:
    """Return a convolution with its normalisation and activation, in the style's order.

    It starts so that activations keep their variance (He et al. 2015, arXiv 1502.01852).
    """
    after = [("norm", norm(dims, style.norm, out)), ("act", activation(style.activation, out))]
    if style.norm_last:
        after.reverse()
    start = conv(dims, channels, out, kernel, bias=style.bias)
    nn.init.kaiming_normal_(cast("Tensor", start.weight), a=0.01, nonlinearity="leaky_relu")
    layers: list[tuple[str, nn.Module]] = [("conv", start), *after]
    return nn.Sequential(OrderedDict(layers))


def _linear(dims: int) -> str:
    return "trilinear" if dims == 3 else "bilinear"
