"""DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611) with three encoders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks
from napari_attnseg.models.aligned import AlignedUpsample
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.contract import Auxiliary, LayerGrid, MakeAttention, SegmentationModel
from napari_attnseg.models.encoders import ENCODERS, EncoderShape, Step, depths_of
from napari_attnseg.models.encoders.layers import ONE, conv, widened
from napari_attnseg.models.levels import kernels_of, product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.unet import Stage

PUBLISHED_LEVEL = {2: 4, 3: 3}
"""Deepest level by dimensions: a stride of 16 in images; in volumes 8, whose patches are small."""

PUBLISHED_RATES = (6, 12, 18)
"""At a stride of 16 in images."""

SMALL_RATES = (2, 4, 6)
"""For maps of a few voxels, outside which the published ones would see nothing."""


@dataclass(frozen=True)
class DeepLabOptions(Config):
    """What DeepLabs differ in. Levels count from 0, full resolution, where nothing is computed."""

    widths: tuple[int, ...] = setting(
        (16, 32, 64, 128), help="Channels of each encoder level; the first is not used"
    )
    strides: tuple[Any, ...] = setting(
        (), help="Step into each level along D, H and W, first (1, 1, 1); none means 2 everywhere"
    )
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel of each level along D, H and W; none means 3 everywhere"
    )
    depths: tuple[int, ...] = setting(
        (), help="Encoder blocks of each level from the third on; none means 2 everywhere"
    )
    output_level: int = setting(
        0,
        help="Level at which strides give way to wider kernels; 0 means as published, or the last "
        "but one where there are fewer levels",
        minimum=0,
    )
    rates: tuple[int, ...] = setting(
        (), help="Dilations of the pyramid; none means 6, 12, 18 in images and 2, 4, 6 in volumes"
    )
    channels: int = setting(
        0, help="Channels of pyramid and decoder; 0 means those of its level", minimum=0
    )
    low_channels: int = setting(
        0,
        help="Channels of the decoder's fine maps; 0 means 8 or a fifth of the others",
        minimum=0,
    )
    norm: str = setting("instance", help="Normalisation", choices=("batch", "instance", "group"))
    dropout: float = setting(
        0.0, help="Dropout after the pyramid and in the decoder", minimum=0.0, maximum=0.95
    )
    stem_kernel: int = setting(3, help="Kernel of a ResNet's first convolution", minimum=1)
    block: str = setting(
        "basic", help="Residual blocks of a ResNet", choices=("basic", "bottleneck")
    )
    inner: float = setting(0.25, help="Channels inside a bottleneck over those outside")
    multi_grid: tuple[int, ...] = setting((), help="Dilations within a ResNet's last level")
    exit_widths: tuple[int, ...] = setting((), help="Widths of an Xception's exit flow")
    cost: str = cost_setting()


class Pyramid(nn.Module):
    """Context at several scales: convolutions of growing dilation and the mean of the whole map.

    Args:
        dims: 2 or 3.
        channels: That come in.
        out: Channels of each scale, and of the result.
        kernel: Of the dilated convolutions.
        rates: Their dilations along D, H and W.
        norm: See `napari_attnseg.models.blocks.norm`.
        dropout: Share of channels dropped at the end.
    """

    def __init__(
        self,
        dims: int,
        channels: int,
        out: int,
        *,
        kernel: Size,
        rates: list[Size],
        norm: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList([unit(dims, channels, out, norm=norm, kernel=ONE)])
        for rate in rates:
            self.scales.append(unit(dims, channels, out, norm=norm, kernel=kernel, dilation=rate))
        mean: Any = nn.AdaptiveAvgPool3d(1) if dims == 3 else nn.AdaptiveAvgPool2d(1)
        self.whole = nn.Sequential(mean, unit(dims, channels, out, norm=norm, kernel=ONE))
        joined = out * (len(rates) + 2)
        self.project = unit(dims, joined, out, norm=norm, kernel=ONE)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        maps = [scale(x) for scale in self.scales]
        whole = self.whole(x).expand_as(maps[0])
        return self.dropout(self.project(torch.cat([*maps, whole], dim=CHANNEL)))


class DeepLab(SegmentationModel):
    """Encoder with dilated convolutions, pyramid, and a decoder that sees one finer level."""

    def __init__(
        self,
        config: ModelConfig,
        options: DeepLabOptions,
        make_attention: MakeAttention,
        *,
        encoder: str,
    ) -> None:
        levels, dims = len(options.widths), config.dims
        strides = strides_of(options.strides, levels, dims)
        wanted = options.output_level or PUBLISHED_LEVEL[dims]
        last = options.output_level or min(wanted, max(1, levels - 2))
        last = min(last, levels - 1)
        super().__init__(config, size_multiple=product(strides[: last + 1]))
        self.options = sized(partial(DeepLab, encoder=encoder), config, options)
        self.kernels = kernels_of(options.kernels, levels, dims)
        self.strides, self.last, self.low = strides, last, max(1, last - 2)
        steps = ENCODERS[encoder](self._shape(strides))
        self._build_encoder(steps, make_attention)
        self._build_pyramid(strides, make_attention)
        self._build_decoder(strides, make_attention)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        fine = x
        for level in range(1, self.last + 1):
            x = self.stages[f"encoder{level}"](x)
            fine = x if level == self.low else fine
        x = self.stages["bottleneck"](x)
        skip = self.reduce(self.skip_attention(fine, x))
        joined = self.concat_attention(torch.cat([self.up(x), skip], dim=CHANNEL))
        x = self.stages[f"decoder{self.low}"](joined)
        return self.to_input(self.head(self.head_attention(x))), {}

    def _shape(self, strides: list[Size]) -> EncoderShape:
        options = self.options
        count = len(options.widths) - 2 - bool(options.exit_widths)
        return EncoderShape(
            dims=self.dims,
            in_channels=self.config.in_channels,
            widths=options.widths,
            strides=strides,
            kernels=self.kernels,
            depths=depths_of(options.depths, count),
            stem_kernel=options.stem_kernel,
            norm=options.norm,
            block=options.block,
            inner=options.inner,
            last_level=self.last,
            multi_grid=options.multi_grid,
            exit_widths=options.exit_widths,
        )

    def _build_encoder(self, steps: list[Step], attend: MakeAttention) -> None:
        for step in steps:
            name = f"encoder{step.level}"
            attention = attend("encoder", step.level, step.channels, layer=name)
            self.add_layer(name, Stage(step.module, attention), step.grid, step.channels)

    def _build_pyramid(self, strides: list[Size], attend: MakeAttention) -> None:
        options, deepest = self.options, self.layers[f"encoder{self.last}"]
        self.width = options.channels or options.widths[self.last]
        kernel, rates = self.kernels[self.last], self._rates(strides)
        pyramid = Pyramid(
            self.dims,
            deepest.channels,
            self.width,
            kernel=kernel,
            rates=rates,
            norm=options.norm,
            dropout=options.dropout,
        )
        grid = deepest.grid.after(widened(kernel, rates[-1]))
        attention = attend("bottleneck", self.last, self.width, layer="bottleneck")
        self.add_layer("bottleneck", Stage(pyramid, attention), grid, self.width)

    def _rates(self, strides: list[Size]) -> list[Size]:
        """Return dilations by axis, smaller along those that are pooled less."""
        rates = self.options.rates
        if not rates and self.dims == 2:
            rates = tuple(rate * 2 ** (4 - self.last) for rate in PUBLISHED_RATES)
        rates = rates or SMALL_RATES
        if self.last == len(strides) - 1 < 3:
            rates = tuple(min(rate, 3) for rate in rates)  # of a map of 4 voxels
        pooled = product(strides[: self.last + 1])
        share = [step / max(pooled) for step in pooled]
        return [
            cast("Size", tuple(max(1, round(rate * part)) for part in share)) for rate in rates
        ]

    def _build_decoder(self, strides: list[Size], attend: MakeAttention) -> None:
        options, dims, low, width = self.options, self.dims, self.low, self.width
        fine, name = self.layers[f"encoder{low}"], f"decoder{low}"
        thin = options.low_channels or min(width, max(8, width // 5))
        self.skip_attention = attend(
            "skip", low, fine.channels, layer=f"encoder{low}", context_channels=width
        )
        self.reduce = unit(dims, fine.channels, thin, norm=options.norm, kernel=ONE)
        self.up = AlignedUpsample(dims, product([ONE, *strides[low + 1 : self.last + 1]]))
        self.concat_attention = attend("concat", low, width + thin, layer=name)
        kernel = self.kernels[low]
        block = nn.Sequential(
            unit(dims, width + thin, width, norm=options.norm, kernel=kernel),
            nn.Dropout(options.dropout),
            unit(dims, width, width, norm=options.norm, kernel=kernel),
            nn.Dropout(options.dropout / 5),
        )
        seen = self.layers["bottleneck"].grid.field_dhw
        grid = LayerGrid(fine.grid.stride_dhw, fine.grid.offset_dhw, seen)
        grid = grid.after(kernel).after(kernel)
        attention = attend("decoder", low, width, layer=name)
        self.add_layer(name, Stage(block, attention), grid, width)
        self.head_attention = attend("head", low, width, layer=name)
        self.head = blocks.conv(dims, width, self.config.out_channels, 1)
        self.to_input = AlignedUpsample(dims, product(strides[: low + 1]))


def unit(
    dims: int, channels: int, out: int, *, norm: str, kernel: Size, dilation: Size = ONE
) -> nn.Sequential:
    """Return a convolution with its normalisation and activation."""
    start = conv(dims, channels, out, kernel, dilation=dilation)
    return nn.Sequential(start, blocks.norm(dims, norm, out), nn.ReLU())


PUBLISHED = {"norm": "batch", "channels": 256, "low_channels": 48, "dropout": 0.5}
WIDE = {"widths": (64, 64, 256, 512, 1024, 2048), "stem_kernel": 7, "block": "bottleneck"}
GRID = {"multi_grid": (1, 2, 4)}
NARROW = {"widths": (64, 64, 64, 128, 256, 512), "stem_kernel": 7, "depths": (2, 2, 2, 2)}
XCEPTION = {
    "widths": (32, 64, 128, 256, 728, 2048),
    "depths": (1, 1, 17),
    "exit_widths": (1024, 1536, 2048),
}
TINY = {"widths": (8, 16, 16, 32), "depths": (1, 1), "rates": SMALL_RATES}
PLAN = Preset("Sized by the plan from your cases", {"rates": SMALL_RATES, "cost": "unet"})

RESNETS = {
    "paper": Preset(
        "As published: ResNet-101", {**PUBLISHED, **WIDE, **GRID, "depths": (3, 4, 23, 3)}, 3, 21
    ),
    "resnet50": Preset(
        "With ResNet-50", {**PUBLISHED, **WIDE, **GRID, "depths": (3, 4, 6, 3)}, 3, 21
    ),
    "resnet18": Preset("With ResNet-18", {**PUBLISHED, **NARROW}, 3, 21),
    "plan": PLAN,
    "tiny": Preset("Trains on a CPU in seconds", TINY),
}
XCEPTIONS = {
    "paper": Preset("As published: modified aligned Xception", {**PUBLISHED, **XCEPTION}, 3, 21),
    "plan": PLAN,
    "tiny": Preset("Trains on a CPU in seconds", TINY),
}
RESNESTS = {
    "paper": Preset(
        "With ResNeSt-50 as published", {**PUBLISHED, **WIDE, "depths": (3, 4, 6, 3)}, 3, 21
    ),
    "plan": PLAN,
    "tiny": Preset("Trains on a CPU in seconds", TINY),
}

for _encoder, _title, _presets in (
    ("resnet", "ResNet", RESNETS),
    ("xception", "Xception", XCEPTIONS),
    ("resnest", "ResNeSt", RESNESTS),
):
    BACKBONES.register(f"deeplab-{_encoder}")(
        Backbone(
            title=f"DeepLabV3+ ({_title})",
            summary=f"Dilated convolutions at several scales over a {_title}; Chen et al. 2018.",
            build=partial(DeepLab, encoder=_encoder),
            options=DeepLabOptions,
            presets=_presets,
            dims=(2, 3),
        )
    )
