"""Widths of a network that make a step cost about as much as in the planned U-Net."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from napari_attnseg.axes import Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models.contract import MakeAttention, SegmentationModel
from napari_attnseg.models.levels import common_multiple, product, strides_of
from napari_attnseg.models.sites import AttentionSite, place_name
from napari_attnseg.models.unet import UNet, UNetOptions

Build = Callable[[ModelConfig, Any, MakeAttention], SegmentationModel]
Scale = Callable[[Any, float], Any]

STEPS = (4, 8)
"""Widths are multiples of these, which processors multiply faster: up to 32, and from there."""


def cost_setting() -> Any:
    """Return the option of a backbone that says how its widths are meant."""
    return setting(
        "own",
        help="Take widths as they are, or as those of a U-Net that this network should cost as "
        "much as",
        choices=("own", "unet"),
    )


def multiply_adds(model: SegmentationModel, size: Size) -> int:
    """Return the multiplications of a forward pass of one volume in convolutions and products.

    Args:
        model: On the meta device, where nothing is computed.
        size: Voxels along D, H and W.
    """
    x = torch.empty(1, model.config.in_channels, *size, device="meta")
    was_training = model.training
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(x)
    finally:
        model.train(was_training)
    return counter.get_total_flops() // 2


def scaled_widths(options: Any, factor: float) -> Any:
    """Return options whose widths are multiplied and rounded, and are the network's own."""
    widths = tuple(rounded_width(width * factor) for width in options.widths)
    return options.replace(widths=widths, cost="own")


def sized(build: Build, config: ModelConfig, options: Any, scale: Scale = scaled_widths) -> Any:
    """Return options whose widths are the network's own.

    Where ``options.cost`` is ``"unet"``, they are scaled by one number, so that a forward pass
    costs about as much as that of a U-Net with the widths, strides and kernels that were given.

    Args:
        build: Makes the network.
        config: Of the network.
        options: With ``widths``, ``strides``, ``kernels`` and ``cost``.
        scale: Makes a network's own options of these and a factor.
    """
    if options.cost == "own":
        return options
    settings = json.dumps(options.to_dict())
    kind: Any = type(options)
    task = config.dims, config.in_channels, config.out_channels
    return scale(options, _factor(build, kind, settings, scale, *task))


@lru_cache(maxsize=256)
def _factor(
    build: Build,
    kind: type[Config],
    settings: str,
    scale: Scale,
    dims: int,
    channels: int,
    classes: int,
) -> float:
    options: Any = kind.from_dict(json.loads(settings))
    config = ModelConfig(dims=dims, in_channels=channels, out_channels=classes)
    planned = UNetOptions(widths=options.widths, strides=options.strides, kernels=options.kernels)
    multiple = product(strides_of(options.strides, len(options.widths), dims))

    def cost(build: Build, options: Any) -> float:
        """Return the multiplications per voxel."""
        with torch.device("meta"):
            model = build(config, options, _nothing)
            size = common_multiple(multiple, model.size_multiple)
            return multiply_adds(model, size) / math.prod(size)

    goal = cost(cast("Build", UNet), planned)
    whole, half = cost(build, scale(options, 1.0)), cost(build, scale(options, 0.5))
    # Each layer costs its input's width times its output's, so the sum is a f + b f^2.
    b = 2 * whole - 4 * half
    if b <= 0:  # so few channels that rounding decides
        return math.sqrt(goal / whole)
    a = whole - b
    return (math.sqrt(a**2 + 4 * b * goal) - a) / (2 * b)


def rounded_width(width: float) -> int:
    """Return the nearest of the widths that are quick to compute."""
    step = STEPS[width > 32]
    return max(step, round(width / step) * step)


def _nothing(
    site: str, level: int, channels: int, *, layer: str, context_channels: int | None = None
) -> nn.Module:
    return AttentionSite(place_name(site, level), layer)
