"""V-Net (Milletari et al. 2016, arXiv 1606.04797)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.blocks import UnitStyle
from napari_attnseg.models.contract import (
    Auxiliary,
    LayerGrid,
    MakeAttention,
    ModelError,
    SegmentationModel,
)
from napari_attnseg.models.levels import kernels_of, level_name, product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.strided import down_unit, up_unit

UNNORMALISED_RATE = 1e-3
"""Larger steps lead astray where no normalisation keeps activations in range."""


@dataclass(frozen=True)
class VNetOptions(Config):
    """What V-Nets differ in. Levels count from 0, full resolution; the last is the bottleneck."""

    widths: tuple[int, ...] = setting((16, 32, 64, 128, 256), help="Channels of each level")
    strides: tuple[Any, ...] = setting(
        (), help="Step into each level along D, H and W, first (1, 1, 1); none means 2 everywhere"
    )
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel of each level along D, H and W; none means `kernel` everywhere"
    )
    kernel: int = setting(5, help="Kernel where `kernels` are not given", minimum=1)
    convs: tuple[int, ...] = setting(
        (), help="Convolutions of each encoder level, the deepest last; none means 1, 2, 3, 3..."
    )
    decoder_convs: tuple[int, ...] = setting(
        (), help="Convolutions of each decoder level, level 0 first; none means 1, 2, 3, 3..."
    )
    norm: str = setting(
        "none", help="Normalisation", choices=("batch", "instance", "group", "none")
    )
    norm_last: bool = setting(False, help="Activation before normalisation")
    residual: str = setting(
        "joined",
        help="What a decoder block adds to its output: the joined maps, or the one from below, "
        "where the deepest block adds nothing",
        choices=("joined", "risen"),
    )
    head: str = setting(
        "single",
        help="Score by one convolution of one voxel, or after another with the level's kernel",
        choices=("single", "double"),
    )
    dropout: float = setting(
        0.0, help="Dropout at the end of the two deepest blocks", minimum=0.0, maximum=0.95
    )
    cost: str = cost_setting()


class ResidualStage(nn.Module):
    """Convolutions whose input is added before the last activation, with what follows them.

    Args:
        dims: 2 or 3.
        channels: Channels that come in.
        out: Channels of every convolution.
        convs: How many there are.
        kernel: Of each.
        style: Of each.
    """

    def __init__(
        self, dims: int, channels: int, out: int, convs: int, kernel: Any, style: UnitStyle
    ) -> None:
        super().__init__()
        widths = [channels, *[out] * convs]
        self.convs = nn.Sequential(
            *(
                blocks.conv_unit(dims, widths[index], out, kernel, style)
                for index in range(convs - 1)
            )
        )
        self.last = blocks.conv(dims, widths[-2], out, kernel, bias=style.bias)
        weight = cast("Tensor", self.last.weight)
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        if style.norm == "none":
            # Sums of variances would double with each block where nothing brings them back.
            weight.data.mul_(0.5)
        self.norm = blocks.norm(dims, style.norm, out)
        self.act = blocks.activation(style.activation, out)
        self.norm_last = style.norm_last
        self.dropout: nn.Module = nn.Identity()
        self.attention: nn.Module = nn.Identity()

    def forward(self, x: Tensor, residual: Tensor | None) -> Tensor:
        added = self.last(self.convs(x))
        if residual is not None:
            added = self.act(self.norm(added) + residual)
        else:
            added = self.norm(self.act(added)) if self.norm_last else self.act(self.norm(added))
        return self.attention(self.dropout(added))


class VNet(SegmentationModel):
    """Residual encoder and decoder with strided convolutions, joined by skips."""

    def __init__(
        self, config: ModelConfig, options: VNetOptions, make_attention: MakeAttention
    ) -> None:
        levels, dims = len(options.widths), config.dims
        strides = strides_of(options.strides, levels, dims)
        super().__init__(config, size_multiple=product(strides))
        self.options = sized(VNet, config, options)
        self.strides = strides
        self.kernels = kernels_of(options.kernels, levels, dims, usual=options.kernel)
        self.depth = levels - 1
        self.style = UnitStyle(options.norm, "prelu", options.norm_last)
        if options.norm == "none":
            self.largest_rate = UNNORMALISED_RATE
        self.downs, self.ups = nn.ModuleDict(), nn.ModuleDict()
        self.skips, self.concats = nn.ModuleDict(), nn.ModuleDict()
        self._build_encoder(make_attention)
        self._build_decoder(make_attention)
        top = self.layers["decoder0"].channels
        self.head_attention = make_attention("head", 0, top, layer="decoder0")
        self.head = self._head(top)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        skips: list[Tensor] = []
        residual = tiled(x, self.options.widths[0])
        for level in range(self.depth + 1):
            if level:
                skips.append(x)
                x = residual = self.downs[f"{level}"](x)
            # The light V-Net adds nothing in its deepest block.
            is_plain = level == self.depth and self.options.residual == "risen"
            x = self.stages[level_name(level, self.depth)](x, None if is_plain else residual)
        for level in reversed(range(self.depth)):
            risen = self.ups[f"{level}"](x)
            skip = self.skips[f"{level}"](skips.pop(), x)
            joined = self.concats[f"{level}"](torch.cat([skip, risen], dim=CHANNEL))
            residual = joined if self.options.residual == "joined" else risen
            x = self.stages[f"decoder{level}"](joined, residual)
        return self.head(self.head_attention(x)), {}

    def _build_encoder(self, attend: MakeAttention) -> None:
        convs = _counts("convs", self.options.convs, self.depth + 1)
        grid, channels = LayerGrid(), self.config.in_channels
        for level, width in enumerate(self.options.widths):
            name, stride = level_name(level, self.depth), self.strides[level]
            if level:
                unit = down_unit(self.dims, channels, width, stride, self.style)
                self.downs[f"{level}"] = unit
                channels = width
            grid = grid.after(stride, stride, (0, 0, 0))
            for _ in range(convs[level]):
                grid = grid.after(self.kernels[level])
            stage = self._stage(level, channels, width, convs[level])
            site = "bottleneck" if level == self.depth else "encoder"
            stage.attention = attend(site, level, width, layer=name)
            if self.options.dropout and level >= self.depth - 1:
                stage.dropout = nn.Dropout(self.options.dropout)
            self.add_layer(name, stage, grid, width)
            channels = width

    def _build_decoder(self, attend: MakeAttention) -> None:
        convs = _counts("decoder_convs", self.options.decoder_convs, self.depth)
        channels, seen = self.options.widths[-1], self.layers["bottleneck"].grid
        for level in reversed(range(self.depth)):
            name, width = f"decoder{level}", self.options.widths[level]
            out = 2 * width if self.options.residual == "joined" else width
            self.ups[f"{level}"] = up_unit(
                self.dims, channels, width, self.strides[level + 1], self.style
            )
            self.skips[f"{level}"] = attend(
                "skip", level, width, layer=f"encoder{level}", context_channels=channels
            )
            self.concats[f"{level}"] = attend("concat", level, 2 * width, layer=name)
            stage = self._stage(level, 2 * width, out, convs[level])
            stage.attention = attend("decoder", level, out, layer=name)
            # A decoder level lies on the grid of the encoder level that it joins.
            own = self.layers[f"encoder{level}"].grid
            seen = LayerGrid(own.stride_dhw, own.offset_dhw, seen.field_dhw)
            for _ in range(convs[level]):
                seen = seen.after(self.kernels[level])
            self.add_layer(name, stage, seen, out)
            channels = out

    def _stage(self, level: int, channels: int, out: int, convs: int) -> ResidualStage:
        return ResidualStage(self.dims, channels, out, convs, self.kernels[level], self.style)

    def _head(self, channels: int) -> nn.Module:
        classes = self.config.out_channels
        if self.options.head == "single":
            return blocks.conv(self.dims, channels, classes, 1)
        return nn.Sequential(
            blocks.conv(self.dims, channels, classes, self.kernels[0]),
            blocks.activation("prelu", classes),
            blocks.conv(self.dims, classes, classes, 1),
        )


def tiled(x: Tensor, channels: int) -> Tensor:
    """Return a map whose channels are repeated until there are so many."""
    if x.shape[CHANNEL] == 1:
        return x  # broadcasts
    repeats = -(-channels // x.shape[CHANNEL])
    return x.repeat(1, repeats, *[1] * (x.ndim - 2))[:, :channels]


def _counts(name: str, counts: tuple[int, ...], levels: int) -> tuple[int, ...]:
    found = counts or tuple(min(level + 1, 3) for level in range(levels))
    if len(found) != levels or min(found) < 1:
        raise ModelError(f"{name} is {found}; give {levels} positive numbers, one for each level.")
    return found


RELEASED = {"convs": (1, 1, 2, 3, 3), "decoder_convs": (1, 1, 2, 3), "head": "double"}
LIGHT = {
    "widths": (8, 16, 32, 64, 128),
    "convs": (1, 2, 3, 3, 1),
    "norm": "instance",
    "norm_last": True,
    "residual": "risen",
}
# Kernels of 5 cost nearly five times as much as those of 3, and without normalisation no
# learning rate suits all: a V-Net for any cases has neither.
PLAN = {"kernel": 3, "norm": "instance", "cost": "unet"}
TINY = {"widths": (8, 16, 32), "kernel": 3, "norm": "instance"}

BACKBONES.register("vnet")(
    Backbone(
        title="V-Net",
        summary="Residual blocks and strided convolutions; Milletari et al. 2016.",
        build=VNet,
        options=VNetOptions,
        presets={
            "paper": Preset("As published: kernels of 5, no normalisation", {}, 1, 2),
            "released": Preset("As in the authors' released network", RELEASED, 1, 2),
            "light": Preset("8 to 128 channels, norm after activation", LIGHT, 1, 11),
            "plan": Preset("Sized by the plan from your cases, kernels of 3", PLAN),
            "tiny": Preset("Trains on a CPU in seconds", TINY),
        },
        dims=(3, 2),
    )
)
