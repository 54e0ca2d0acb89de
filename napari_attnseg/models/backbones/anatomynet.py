"""AnatomyNet (Zhu et al. 2019, arXiv 1808.05238)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.channel_gate import ChannelGate
from napari_attnseg.models.contract import (
    Auxiliary,
    LayerGrid,
    MakeAttention,
    SegmentationModel,
)
from napari_attnseg.models.levels import each_level, kernels_of
from napari_attnseg.models.sizing import cost_setting, rounded_width, sized
from napari_attnseg.models.strided import padded_conv
from napari_attnseg.models.unet import Join, Stage

PUBLISHED = (28, 30, 32, 34)
REDUCTION, JOINED_REDUCTION = 15, 16
"""Channels over hidden units in blocks of one map, and in those that join two."""


@dataclass(frozen=True)
class AnatomyNetOptions(Config):
    """What AnatomyNets differ in. All stages but the last work at one reduced resolution."""

    widths: tuple[int, ...] = setting(PUBLISHED, help="Channels of each stage")
    strides: tuple[Any, ...] = setting(
        (), help="(1, 1, 1), and the step to the stages' resolution along D, H and W; none means 2"
    )
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel along D, H and W at full resolution, and at that of the stages"
    )
    repeats: int = setting(2, help="Residual blocks of a stage", minimum=1)
    norm: str = setting(
        "batch", help="Normalisation", choices=("batch", "instance", "group", "none")
    )
    cost: str = cost_setting()


class Residual(nn.Module):
    """Two convolutions with channel weights, around which the input is added.

    Args:
        dims: 2 or 3.
        channels: Channels that come in.
        out: Channels that go out.
        kernel: Of both convolutions.
        norm: Kind of normalisation.
        reduction: Of the channel weights; None for none, and then the projection of the input
            has the kernel too, as in the last block.
    """

    def __init__(
        self, dims: int, channels: int, out: int, kernel: Size, norm: str, reduction: int | None
    ) -> None:
        super().__init__()
        bias = norm == "none"
        self.first = padded_conv(dims, channels, out, kernel, bias=bias)
        self.first_norm = blocks.norm(dims, norm, out)
        self.first_act = blocks.activation("leaky", out)
        self.second = padded_conv(dims, out, out, kernel, bias=bias)
        self.second_norm = blocks.norm(dims, norm, out)
        self.gate = nn.Identity() if reduction is None else ChannelGate(out, reduction)
        self.act = blocks.activation("leaky", out)
        self.shortcut: nn.Module = nn.Identity()
        if channels != out:
            size = kernel if reduction is None else 1
            self.shortcut = nn.Sequential(
                padded_conv(dims, channels, out, size, bias=bias), blocks.norm(dims, norm, out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.first_act(self.first_norm(self.first(x)))
        return self.act(self.gate(self.second_norm(self.second(y))) + self.shortcut(x))


class AnatomyNet(SegmentationModel):
    """U-Net of SE-residual blocks that steps down once, so that small organs stay visible.

    Its layers and places are numbered by stage: 1 to 3 before the bottleneck, all at the reduced
    resolution, and 0 at full resolution, where the image itself is joined.
    """

    def __init__(
        self, config: ModelConfig, options: AnatomyNetOptions, make_attention: MakeAttention
    ) -> None:
        own = sized(AnatomyNet, config, options, _scaled)
        step = _step(own.strides, config.dims)
        super().__init__(config, size_multiple=step)
        self.options = own
        self.step = step
        self.kernels = kernels_of(own.kernels, 2, config.dims)
        self.depth = len(own.widths)
        self.joins = nn.ModuleDict()
        self._build_encoder(make_attention)
        self._build_decoder(make_attention)
        self._build_top(make_attention)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        image, skips = x, []
        for stage in range(1, self.depth):
            x = self.stages[f"encoder{stage}"](x)
            skips.append(x)
        x = self.stages["bottleneck"](x)
        for stage in reversed(range(1, self.depth)):
            x = self.stages[f"decoder{stage}"](self.joins[f"{stage}"](skips.pop(), x))
        x = self.concat(torch.cat([image, self.up(x)], dim=CHANNEL))
        return self.head(self.head_attention(self.stages["decoder0"](x))), {}

    def _build_encoder(self, attend: MakeAttention) -> None:
        channels, kernel = self.config.in_channels, self.kernels[1]
        norm, dims = self.options.norm, self.dims
        grid = LayerGrid().after(kernel, self.step)
        for stage, width in enumerate(self.options.widths, start=1):
            name = "bottleneck" if stage == self.depth else f"encoder{stage}"
            if stage == 1:
                block = nn.Sequential(
                    padded_conv(dims, channels, width, kernel, self.step, bias=norm == "none"),
                    blocks.norm(dims, norm, width),
                    blocks.activation("leaky", width),
                )
            else:
                block = self._residuals([channels, width], REDUCTION)
                grid = self._seen(grid, self.options.repeats)
            site = "bottleneck" if stage == self.depth else "encoder"
            attention = attend(site, stage, width, layer=name)
            self.add_layer(name, Stage(block, attention), grid, width)
            channels = width

    def _build_decoder(self, attend: MakeAttention) -> None:
        grid = self.layers["bottleneck"].grid
        for stage in reversed(range(1, self.depth)):
            name, width, deeper = (
                f"decoder{stage}",
                self.options.widths[stage - 1],
                self.options.widths[stage],
            )
            self.joins[f"{stage}"] = Join(
                attend("skip", stage, width, layer=f"encoder{stage}", context_channels=deeper),
                nn.Identity(),
                attend("concat", stage, width + deeper, layer=name),
                nn.Identity(),
            )
            grid = self._seen(grid, self.options.repeats)
            block = self._residuals([width + deeper, width], JOINED_REDUCTION)
            attention = attend("decoder", stage, width, layer=name)
            self.add_layer(name, Stage(block, attention), grid, width)

    def _build_top(self, attend: MakeAttention) -> None:
        first = self.options.widths[0]
        width, joined = first // 2, first // 2 + self.config.in_channels
        self.up = blocks.up_conv(self.dims, first, width, self.step)
        self.concat = attend("concat", 0, joined, layer="decoder0")
        block = Residual(self.dims, joined, width, self.kernels[0], self.options.norm, None)
        seen = LayerGrid(field_dhw=self.layers["decoder1"].grid.field_dhw)
        seen = seen.after(self.kernels[0]).after(self.kernels[0])
        attention = attend("decoder", 0, width, layer="decoder0")
        self.add_layer("decoder0", Stage(block, attention), seen, width)
        self.head_attention = attend("head", 0, width, layer="decoder0")
        self.head = blocks.conv(self.dims, width, self.config.out_channels, self.kernels[0])

    def _residuals(self, widths: list[int], reduction: int) -> nn.Sequential:
        """Return the blocks of a stage; those after the first join nothing."""
        kernel, norm, dims = self.kernels[1], self.options.norm, self.dims
        channels, out = widths
        made = [Residual(dims, channels, out, kernel, norm, reduction)]
        for _ in range(self.options.repeats - 1):
            made.append(Residual(dims, out, out, kernel, norm, REDUCTION))
        return nn.Sequential(*made)

    def _seen(self, grid: LayerGrid, repeats: int) -> LayerGrid:
        for _ in range(2 * repeats):
            grid = grid.after(self.kernels[1])
        return grid


def _step(strides: tuple[Any, ...], dims: int) -> Size:
    return each_level("strides", strides or ((1, 1, 1), (2, 2, 2)), 2, dims)[1]


def _scaled(options: AnatomyNetOptions, factor: float) -> AnatomyNetOptions:
    """Return options of its own: the published widths times a factor, and one step of the plan."""
    widths = tuple(rounded_width(width * factor) for width in PUBLISHED)
    return cast(
        "AnatomyNetOptions",
        options.replace(
            widths=widths, strides=options.strides[:2], kernels=options.kernels[:2], cost="own"
        ),
    )


BACKBONES.register("anatomynet")(
    Backbone(
        title="AnatomyNet",
        summary="SE-residual blocks at half resolution, for small organs; Zhu et al. 2019.",
        build=AnatomyNet,
        options=AnatomyNetOptions,
        presets={
            "paper": Preset("As published: 28 to 34 channels", {}, 1, 10),
            "plan": Preset(
                "Sized by the plan from your cases", {"norm": "instance", "cost": "unet"}
            ),
            "tiny": Preset("Trains on a CPU in seconds", {"widths": (8, 10, 12), "repeats": 1}),
        },
        dims=(3, 2),
    )
)
