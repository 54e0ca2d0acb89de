"""VoxResNet (Chen et al. 2018, arXiv 1608.05895)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.contract import (
    Auxiliary,
    Criterion,
    LayerGrid,
    MakeAttention,
    ModelOutput,
    SegmentationModel,
)
from napari_attnseg.models.levels import kernels_of, level_name, product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.strided import padded_conv
from napari_attnseg.models.unet import Stage

SCORES = "scores"
"""Of the paths, finest first, among the auxiliary tensors."""

LAST_WEIGHT = 1e-3
"""Of the loss of each path at the end of training, which begins with 1."""


@dataclass(frozen=True)
class VoxResNetOptions(Config):
    """What VoxResNets differ in. Levels count from 0, full resolution."""

    widths: tuple[int, ...] = setting((32, 64, 64, 64), help="Channels of each level")
    strides: tuple[Any, ...] = setting(
        (), help="Step into each level along D, H and W, first (1, 1, 1); none means 2 everywhere"
    )
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel of each level along D, H and W; none means 3 everywhere"
    )
    modules: int = setting(2, help="Residual modules of each level below the first", minimum=1)
    norm: str = setting(
        "batch", help="Normalisation", choices=("batch", "instance", "group", "none")
    )
    auxiliary: bool = setting(True, help="Also learn from the score of each level alone")
    cost: str = cost_setting()


class VoxRes(nn.Module):
    """Two convolutions, each after normalisation and activation, around which x is added."""

    def __init__(self, dims: int, channels: int, kernel: Size, norm: str) -> None:
        super().__init__()
        self.units = nn.Sequential(
            *_before(dims, channels, norm),
            padded_conv(dims, channels, channels, kernel),
            *_before(dims, channels, norm),
            padded_conv(dims, channels, channels, kernel),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.units(x)


class Rise(nn.Module):
    """A transposed convolution to full resolution that covers what lies between its inputs too.

    Its kernel is two voxels longer than its step.
    """

    def __init__(self, dims: int, channels: int, step: Size) -> None:
        super().__init__()
        steps = blocks.per_axis(step, dims)
        kernel = tuple(one + 2 for one in steps)
        layer: Any = nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d
        self.conv = layer(channels, channels, kernel, stride=steps, padding=1)
        # Each output voxel has about this many inputs.
        taps = math.prod(size / one for size, one in zip(kernel, steps, strict=True))
        nn.init.normal_(self.conv.weight, std=math.sqrt(2 / (channels * taps)))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


class VoxResNet(SegmentationModel):
    """Residual encoder, each level of which is scored at full resolution; the scores add up."""

    def __init__(
        self, config: ModelConfig, options: VoxResNetOptions, make_attention: MakeAttention
    ) -> None:
        levels, dims = len(options.widths), config.dims
        strides = strides_of(options.strides, levels, dims)
        super().__init__(config, size_multiple=product(strides))
        self.options = sized(VoxResNet, config, options)
        self.strides = strides
        self.kernels = kernels_of(options.kernels, levels, dims)
        self.depth = levels - 1
        self.skips, self.scores = nn.ModuleDict(), nn.ModuleDict()
        self._build_trunk(make_attention)
        for level in reversed(range(levels)):
            self._build_path(level, make_attention)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        maps: list[Tensor] = []
        for level in range(self.depth + 1):
            x = self.stages[level_name(level, self.depth)](x)
            maps.append(x)
        scores: list[Tensor] = []
        for level in reversed(range(self.depth + 1)):
            one = maps[level]
            if level < self.depth:
                one = self.skips[f"{level}"](one, maps[level + 1])
            scores.append(self.scores[f"{level}"](self.stages[f"decoder{level}"](one)))
        logits = torch.stack(scores).sum(dim=0)
        return logits, {SCORES: scores[::-1]} if self.options.auxiliary else {}

    def network_loss(self, output: ModelOutput, target: Tensor, criterion: Criterion) -> Tensor:
        """Return the loss of the sum, and those of the levels' scores, which fade away."""
        weight = LAST_WEIGHT**self.training_progress
        loss = criterion(output.logits, target)
        for one in output.auxiliary.get(SCORES, []):
            loss = loss + weight * criterion(one, target)
        return loss

    def _build_trunk(self, attend: MakeAttention) -> None:
        grid, channels = LayerGrid(), self.config.in_channels
        for level, width in enumerate(self.options.widths):
            name, kernel = level_name(level, self.depth), self.kernels[level]
            block = self._level(level, channels, width)
            grid = grid.after(kernel, self.strides[level])
            for _ in range(2 * self.options.modules if level else 1):
                grid = grid.after(kernel)
            site = "bottleneck" if level == self.depth else "encoder"
            attention = attend(site, level, width, layer=name)
            self.add_layer(name, Stage(block, attention), grid, width)
            channels = width

    def _level(self, level: int, channels: int, width: int) -> nn.Sequential:
        kernel, norm, dims = self.kernels[level], self.options.norm, self.dims
        if level == 0:
            return nn.Sequential(
                padded_conv(dims, channels, width, kernel),
                *_before(dims, width, norm),
                padded_conv(dims, width, width, kernel),
            )
        return nn.Sequential(
            *_before(dims, channels, norm),
            padded_conv(dims, channels, width, kernel, self.strides[level]),
            *(VoxRes(dims, width, kernel, norm) for _ in range(self.options.modules)),
        )

    def _build_path(self, level: int, attend: MakeAttention) -> None:
        width, below = self.options.widths[level], level_name(level, self.depth)
        step = product(self.strides[: level + 1])
        if level < self.depth:
            deeper = self.options.widths[level + 1]
            self.skips[f"{level}"] = attend(
                "skip", level, width, layer=below, context_channels=deeper
            )
        name = f"decoder{level}"
        seen = self.layers[below].grid
        # An output voxel lies between two voxels of the level, or on one of full resolution.
        taps = cast("Size", tuple(3 if one == 1 else 2 for one in step))
        grid = LayerGrid(field_dhw=seen.after(taps).field_dhw)
        attention = attend("decoder", level, width, layer=name)
        self.add_layer(name, Stage(Rise(self.dims, width, step), attention), grid, width)
        score = blocks.conv(self.dims, width, self.config.out_channels, self.kernels[0])
        self.scores[f"{level}"] = score


def _before(dims: int, channels: int, norm: str) -> list[nn.Module]:
    return [blocks.norm(dims, norm, channels), nn.ReLU()]


BACKBONES.register("voxresnet")(
    Backbone(
        title="VoxResNet",
        summary="A deep residual encoder whose levels are scored side by side; Chen et al. 2018.",
        build=VoxResNet,
        options=VoxResNetOptions,
        presets={
            "paper": Preset("As published: 32 and 64 channels", {}, 1, 4),
            "plan": Preset(
                "Sized by the plan from your cases", {"norm": "instance", "cost": "unet"}
            ),
            "tiny": Preset("Trains on a CPU in seconds", {"widths": (8, 12, 16), "modules": 1}),
        },
        dims=(3, 2),
        sites=("encoder", "bottleneck", "skip", "decoder"),
    )
)
