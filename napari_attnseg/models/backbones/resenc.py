"""Residual-encoder U-Net as nnU-Net plans it (Isensee et al. 2024, arXiv 2404.09556)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks, deep_supervision
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.blocks import UnitStyle
from napari_attnseg.models.contract import (
    Auxiliary,
    Criterion,
    LayerGrid,
    MakeAttention,
    ModelError,
    ModelOutput,
    SegmentationModel,
)
from napari_attnseg.models.levels import kernels_of, level_name, product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.strided import padded_conv
from napari_attnseg.models.unet import Join, Stage

BLOCKS = (1, 3, 4, 6, 6, 6, 6, 6)
"""Residual blocks of each level; deeper ones have as many as the last."""


@dataclass(frozen=True)
class ResEncOptions(Config):
    """What residual-encoder U-Nets differ in. The last level is the bottleneck."""

    widths: tuple[int, ...] = setting((32, 64, 128, 256, 320, 320), help="Channels of each level")
    strides: tuple[Any, ...] = setting(
        (), help="Step into each level along D, H and W, first (1, 1, 1); none means 2 everywhere"
    )
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel of each level along D, H and W; none means 3 everywhere"
    )
    blocks: tuple[int, ...] = setting(
        (), help="Residual blocks of each encoder level; none means 1, 3, 4, 6, 6, 6..."
    )
    decoder_convs: int = setting(1, help="Convolutions of each decoder level", minimum=1)
    norm: str = setting(
        "instance", help="Normalisation", choices=("batch", "instance", "group", "none")
    )
    deep_supervision: bool = setting(False, help="Also learn from the coarser decoder levels")
    cost: str = cost_setting()


class ResidualBlock(nn.Module):
    """Two convolutions, the first of which may step, around which the input is added.

    Where the size changes the input is averaged, where the channels change it is projected, as
    in ResNet-D (He et al. 2019, arXiv 1812.01187).

    Args:
        dims: 2 or 3.
        channels: Channels that come in.
        out: Channels that go out.
        kernel: Of both convolutions.
        stride: Of the first.
        style: Of both.
    """

    def __init__(
        self, dims: int, channels: int, out: int, kernel: Size, stride: Size, style: UnitStyle
    ) -> None:
        super().__init__()
        self.first = padded_conv(dims, channels, out, kernel, stride)
        self.first_norm = blocks.norm(dims, style.norm, out)
        self.first_act = blocks.activation(style.activation, out)
        self.second = padded_conv(dims, out, out, kernel)
        self.second_norm = blocks.norm(dims, style.norm, out)
        self.act = blocks.activation(style.activation, out)
        steps: list[nn.Module] = []
        if max(stride) > 1:
            steps.append(_average_pool(dims, stride))
        if channels != out:
            steps.append(padded_conv(dims, channels, out, 1, bias=False))
            steps.append(blocks.norm(dims, style.norm, out))
        self.shortcut = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first_act(self.first_norm(self.first(x)))
        return self.act(self.second_norm(self.second(y)) + self.shortcut(x))


class ResEncUNet(SegmentationModel):
    """U-Net whose encoder is made of residual blocks, with a light decoder."""

    def __init__(
        self, config: ModelConfig, options: ResEncOptions, make_attention: MakeAttention
    ) -> None:
        levels, dims = len(options.widths), config.dims
        strides = strides_of(options.strides, levels, dims)
        super().__init__(config, size_multiple=product(strides))
        self.options = sized(ResEncUNet, config, options)
        self.strides = strides
        self.kernels = kernels_of(options.kernels, levels, dims)
        self.depth = levels - 1
        self.style = UnitStyle(options.norm, "leaky")
        widths = self.options.widths
        self.stem = blocks.conv_unit(
            dims, config.in_channels, widths[0], self.kernels[0], self.style
        )
        self.joins = nn.ModuleDict()
        self._build_encoder(make_attention)
        self._build_decoder(make_attention)
        self.head_attention = make_attention("head", 0, widths[0], layer="decoder0")
        self.head = blocks.conv(dims, widths[0], config.out_channels, 1)
        supervised = widths[: self.depth if options.deep_supervision else 0]
        self.side_heads = deep_supervision.side_heads(
            dims, supervised, config.out_channels, strides
        )

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        skips: list[Tensor] = []
        x = self.stem(x)
        for level in range(self.depth + 1):
            x = self.stages[level_name(level, self.depth)](x)
            skips.append(x)
        skips.pop()
        sides: list[Tensor] = []
        for level in reversed(range(self.depth)):
            x = self.stages[f"decoder{level}"](self.joins[f"{level}"](skips.pop(), x))
            if f"{level}" in self.side_heads and self.training:
                sides.append(self.side_heads[f"{level}"](x))
        logits = self.head(self.head_attention(x))
        return logits, {deep_supervision.NAME: sides[::-1]} if sides else {}

    def network_loss(self, output: ModelOutput, target: Tensor, criterion: Criterion) -> Tensor:
        """Return the mean loss of the logits and the coarser ones, each weighing half the last."""
        maps = [output.logits, *output.auxiliary.get(deep_supervision.NAME, [])]
        return deep_supervision.mean_loss(maps, target, criterion)

    def _build_encoder(self, attend: MakeAttention) -> None:
        counts = _blocks(self.options.blocks, self.depth + 1)
        grid = LayerGrid().after(self.kernels[0])
        channels = self.options.widths[0]
        for level, width in enumerate(self.options.widths):
            name, kernel, stride = (
                level_name(level, self.depth),
                self.kernels[level],
                self.strides[level],
            )
            grid = _stepped(grid, kernel, stride)
            for _ in range(2 * counts[level] - 1):
                grid = grid.after(kernel)
            inputs = [channels, *[width] * (counts[level] - 1)]
            steps = [stride, *[cast("Size", (1, 1, 1))] * (counts[level] - 1)]
            made = [
                ResidualBlock(self.dims, one, width, kernel, step, self.style)
                for one, step in zip(inputs, steps, strict=True)
            ]
            site = "bottleneck" if level == self.depth else "encoder"
            stage = Stage(nn.Sequential(*made), attend(site, level, width, layer=name))
            self.add_layer(name, stage, grid, width)
            channels = width

    def _build_decoder(self, attend: MakeAttention) -> None:
        seen = self.layers["bottleneck"].grid
        for level in reversed(range(self.depth)):
            name, width, deeper = (
                f"decoder{level}",
                self.options.widths[level],
                self.options.widths[level + 1],
            )
            self.joins[f"{level}"] = Join(
                attend("skip", level, width, layer=f"encoder{level}", context_channels=deeper),
                blocks.up_conv(self.dims, deeper, width, self.strides[level + 1]),
                attend("concat", level, 2 * width, layer=name),
                nn.Identity(),
            )
            # A decoder level lies on the grid of the encoder level that it joins.
            own = self.layers[f"encoder{level}"].grid
            seen = LayerGrid(own.stride_dhw, own.offset_dhw, seen.field_dhw)
            inputs = [2 * width, *[width] * (self.options.decoder_convs - 1)]
            units = []
            for one in inputs:
                seen = seen.after(self.kernels[level])
                units.append(
                    blocks.conv_unit(self.dims, one, width, self.kernels[level], self.style)
                )
            attention = attend("decoder", level, width, layer=name)
            self.add_layer(name, Stage(nn.Sequential(*units), attention), seen, width)


def _stepped(grid: LayerGrid, kernel: Size, stride: Size) -> LayerGrid:
    """Return the grid after the first convolution of a level and the shortcut around it.

    The convolution steps from the first voxel, the mean of the shortcut lies half a step
    further; their sum counts as lying between.
    """
    convolved, averaged = grid.after(kernel, stride), grid.after(stride, stride, (0, 0, 0))
    pairs = zip(convolved.offset_dhw, averaged.offset_dhw, strict=True)
    offset = cast("Spacing", tuple((a + b) / 2 for a, b in pairs))
    return LayerGrid(convolved.stride_dhw, offset, convolved.field_dhw)


def _blocks(counts: tuple[int, ...], levels: int) -> tuple[int, ...]:
    found = counts or tuple(BLOCKS[min(level, len(BLOCKS) - 1)] for level in range(levels))
    if len(found) != levels or min(found) < 1:
        raise ModelError(f"blocks is {found}; give {levels} positive numbers, one for each level.")
    return found


def _average_pool(dims: int, stride: Size) -> nn.Module:
    steps: Any = blocks.per_axis(stride, dims)
    return nn.AvgPool3d(steps, steps) if dims == 3 else nn.AvgPool2d(steps, steps)


PAPER_2D = {"widths": (32, 64, 128, 256, 512, 512, 512, 512)}

BACKBONES.register("resenc")(
    Backbone(
        title="Residual-encoder U-Net",
        summary="Residual blocks in the encoder, as nnU-Net plans them; Isensee et al. 2024.",
        build=ResEncUNet,
        options=ResEncOptions,
        presets={
            "paper": Preset("32 to 320 channels on six levels, as for large patches", {}, 1, 2),
            "slices": Preset("32 to 512 channels on eight levels, as for slices", PAPER_2D, 1, 2),
            "plan": Preset("Sized by the plan from your cases", {"cost": "unet"}),
            "tiny": Preset(
                "Trains on a CPU in seconds", {"widths": (8, 16, 32), "blocks": (1, 1, 1)}
            ),
        },
        dims=(3, 2),
    )
)
