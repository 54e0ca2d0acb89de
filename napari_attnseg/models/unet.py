"""The U-Net that the 2-D, 3-D and planned U-Nets are settings of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks, deep_supervision
from napari_attnseg.models.contract import (
    Auxiliary,
    Criterion,
    LayerGrid,
    MakeAttention,
    ModelOutput,
    SegmentationModel,
)
from napari_attnseg.models.levels import kernels_of, level_name, product, strides_of


@dataclass(frozen=True)
class UNetOptions(Config):
    """What U-Nets differ in. Levels count from 0, full resolution; the last is the bottleneck."""

    widths: tuple[int, ...] = setting((32, 64, 128, 256), help="Channels of each level")
    strides: tuple[Any, ...] = setting(
        (), help="Step into each level along D, H and W, first (1, 1, 1); none means 2 everywhere"
    )
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel of each level along D, H and W; none means 3 everywhere"
    )
    norm: str = setting(
        "instance", help="Normalisation", choices=("batch", "instance", "group", "none")
    )
    activation: str = setting("leaky", help="Activation", choices=("relu", "leaky", "prelu"))
    norm_last: bool = setting(False, help="Activation before normalisation")
    first_conv: str = setting(
        "full", help="Channels of an encoder block's first convolution", choices=("full", "half")
    )
    conv_bias: bool = setting(True, help="Bias of 3x3 convolutions")
    up: str = setting(
        "deconv", help="How maps get larger", choices=("deconv", "nearest", "linear")
    )
    up_channels: str = setting(
        "skip", help="Channels after a deconvolution", choices=("skip", "keep")
    )
    up_bias: bool = setting(True, help="Bias of deconvolutions")
    dropout: float = setting(
        0.0, help="Dropout at the end of the two deepest blocks", minimum=0.0, maximum=0.95
    )
    encoder_site: str = setting(
        "block",
        help="Attend at the end of encoder blocks, or on what is pooled from them",
        choices=("block", "pooled"),
    )
    deep_supervision: bool = setting(False, help="Also learn from the coarser decoder levels")
    side_kernel: int = setting(1, help="Kernel that scores the coarser levels", minimum=1)
    head: str = setting(
        "top", help="Score the finest decoder level, or all, joined", choices=("top", "levels")
    )
    gating: bool = setting(
        False, help="Convolve the bottleneck before attention compares the deepest skip with it"
    )


class Stage(nn.Module):
    """A block of convolutions with what follows it: dropout and attention."""

    def __init__(self, block: nn.Module, attention: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.block = block
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.dropout(self.block(x)))


class Join(nn.Module):
    """Joins a skip connection with the coarser map, each attended to where attention sits."""

    def __init__(
        self, skip: nn.Module, up: nn.Module, concat: nn.Module, gating: nn.Module
    ) -> None:
        super().__init__()
        self.skip = skip
        self.gating = gating
        self.up = up
        self.concat = concat

    def forward(self, skip: Tensor, coarser: Tensor) -> Tensor:
        joined = torch.cat([self.skip(skip, self.gating(coarser)), self.up(coarser)], dim=CHANNEL)
        return self.concat(joined)


class UNet(SegmentationModel):
    """Encoder, bottleneck and decoder of two convolutions a level, joined by skips."""

    def __init__(
        self, config: ModelConfig, options: UNetOptions, make_attention: MakeAttention
    ) -> None:
        levels = len(options.widths)
        strides = strides_of(options.strides, levels, config.dims)
        super().__init__(config, size_multiple=product(strides))
        self.options = options
        self.strides = strides
        self.kernels = kernels_of(options.kernels, levels, config.dims)
        self.depth = len(options.widths) - 1
        self.downs, self.joins = nn.ModuleDict(), nn.ModuleDict()
        self._build_encoder(make_attention)
        self._build_decoder(make_attention)
        top = options.widths[0]
        self.head_attention = make_attention("head", 0, top, layer="decoder0")
        self.head = blocks.conv(self.dims, top, config.out_channels, 1)
        self.joins_heads = options.head == "levels"
        has_sides = options.deep_supervision or self.joins_heads
        self.side_heads = deep_supervision.side_heads(
            self.dims,
            options.widths[: self.depth if has_sides else 0],
            config.out_channels,
            strides,
            options.side_kernel,
        )
        if self.joins_heads:
            out = config.out_channels
            self.fuse = blocks.conv(self.dims, out * self.depth, out, 1)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        skips, sides = [], []
        for level in range(self.depth):
            skips.append(self.stages[f"encoder{level}"](x))
            x = self.downs[f"{level}"](skips[-1])
        x = self.stages["bottleneck"](x)
        for level in reversed(range(self.depth)):
            x = self.stages[f"decoder{level}"](self.joins[f"{level}"](skips.pop(), x))
            if f"{level}" in self.side_heads and (self.training or self.joins_heads):
                sides.append(self.side_heads[f"{level}"](x))
        logits = self.head(self.head_attention(x))
        if self.joins_heads:
            logits = self.fuse(torch.cat([*sides, logits], dim=CHANNEL))
        return logits, {
            deep_supervision.NAME: sides[::-1]
        } if self.options.deep_supervision else {}

    def network_loss(self, output: ModelOutput, target: Tensor, criterion: Criterion) -> Tensor:
        """Return the mean loss of the logits and the coarser ones, each weighing half the last."""
        maps = [output.logits, *output.auxiliary.get(deep_supervision.NAME, [])]
        return deep_supervision.mean_loss(maps, target, criterion)

    def _build_encoder(self, attend: MakeAttention) -> None:
        grid, channels = LayerGrid(), self.config.in_channels
        for level, width in enumerate(self.options.widths):
            stride, name = self.strides[level], self._encoder_name(level)
            grid = grid.after(stride, stride, (0, 0, 0))
            grid = grid.after(self.kernels[level]).after(self.kernels[level])
            if level:
                self.downs[f"{level - 1}"] = self._down(level, channels, attend)
            is_half = self.options.first_conv == "half"
            first = max(width // 2, channels) if is_half else width
            block = self._block(level, channels, first)
            dropout = self.options.dropout if level >= self.depth - 1 else 0.0
            stage = Stage(block, self._block_attention(level, attend), dropout)
            self.add_layer(name, stage, grid, width)
            channels = width

    def _block_attention(self, level: int, attend: MakeAttention) -> nn.Module:
        width, name = self.options.widths[level], self._encoder_name(level)
        if level == self.depth:
            return attend("bottleneck", level, width, layer=name)
        if self.options.encoder_site == "pooled":
            return nn.Identity()
        return attend("encoder", level, width, layer=name)

    def _down(self, level: int, channels: int, attend: MakeAttention) -> nn.Module:
        """Return what leads into a level from the one above."""
        pool = blocks.max_pool(self.dims, self.strides[level])
        if self.options.encoder_site == "block":
            return pool
        name = self._encoder_name(level)
        return nn.Sequential(pool, attend("encoder", level - 1, channels, layer=name))

    def _build_decoder(self, attend: MakeAttention) -> None:
        seen = self.layers["bottleneck"].grid
        for level in reversed(range(self.depth)):
            name, width = f"decoder{level}", self.options.widths[level]
            joined = self._build_join(level, attend)
            attention = attend("decoder", level, width, layer=name)
            # A decoder level lies on the grid of the encoder level that it joins.
            own = self.layers[f"encoder{level}"].grid
            seen = LayerGrid(own.stride_dhw, own.offset_dhw, seen.field_dhw)
            seen = seen.after(self.kernels[level]).after(self.kernels[level])
            self.add_layer(name, Stage(self._block(level, joined, width), attention), seen, width)

    def _build_join(self, level: int, attend: MakeAttention) -> int:
        """Add the join above a decoder block, and return the channels that it gives."""
        options, stride = self.options, self.strides[level + 1]
        width, deeper = options.widths[level], options.widths[level + 1]
        if options.up == "deconv":
            risen = width if options.up_channels == "skip" else deeper
            up = blocks.up_conv(self.dims, deeper, risen, stride, bias=options.up_bias)
        else:
            risen, up = deeper, blocks.upsample(self.dims, stride, options.up)
        skip = attend("skip", level, width, layer=f"encoder{level}", context_channels=deeper)
        concat = attend("concat", level, width + risen, layer=f"decoder{level}")
        self.joins[f"{level}"] = Join(skip, up, concat, self._gating(level, skip))
        return width + risen

    def _gating(self, level: int, skip: nn.Module) -> nn.Module:
        """Return what the bottleneck passes before the deepest skip is compared with it."""
        is_compared = getattr(getattr(skip, "module", None), "needs_context", False)
        if not (self.options.gating and level == self.depth - 1 and is_compared):
            return nn.Identity()
        deepest = self.options.widths[-1]
        return blocks.conv_unit(self.dims, deepest, deepest, 1, self._style())

    def _style(self) -> blocks.UnitStyle:
        options = self.options
        return blocks.UnitStyle(
            options.norm, options.activation, options.norm_last, options.conv_bias
        )

    def _block(self, level: int, channels: int, first: int) -> nn.Sequential:
        kernel, width, style = self.kernels[level], self.options.widths[level], self._style()
        return nn.Sequential(
            blocks.conv_unit(self.dims, channels, first, kernel, style),
            blocks.conv_unit(self.dims, first, width, kernel, style),
        )

    def _encoder_name(self, level: int) -> str:
        return level_name(level, self.depth)
