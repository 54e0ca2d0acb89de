"""Fully convolutional networks FCN-32s, 16s and 8s (Long et al. 2015, arXiv 1411.4038)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.blocks import per_axis
from napari_attnseg.models.contract import Auxiliary, MakeAttention, SegmentationModel
from napari_attnseg.models.encoders import EncoderShape, published
from napari_attnseg.models.encoders.layers import conv
from napari_attnseg.models.encoders.vgg import vgg
from napari_attnseg.models.levels import kernels_of, product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.unet import Stage

VGG_CONVS = (2, 2, 3, 3, 3)
FULLY_CONNECTED = {2: (4096, 7), 3: (512, 3)}
"""Channels and kernel by dimensions; as published, volumes would take 719 million weights."""


@dataclass(frozen=True)
class FCNOptions(Config):
    """What FCNs differ in. Levels count from 0, full resolution; the last is the bottleneck."""

    widths: tuple[int, ...] = setting(
        (16, 32, 64, 128),
        help="Channels of each level; those of the last are of what were fully connected layers",
    )
    strides: tuple[Any, ...] = setting(
        (), help="Step into each level along D, H and W, first (1, 1, 1); none means 2 everywhere"
    )
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel of each level along D, H and W; none means 3 everywhere"
    )
    convs: tuple[int, ...] = setting(
        (), help="Convolutions of each level above the last; none means 2, 2, 3, 3, 3..."
    )
    is_published_end: bool = setting(
        False, help="4096 channels and kernels of 7 at the last level, in volumes 512 and 3"
    )
    width_factor: float = setting(1.0, help="Multiplies all channels", minimum=0.01, maximum=8.0)
    norm: str = setting(
        "instance", help="Normalisation", choices=("batch", "instance", "group", "none")
    )
    dropout: float = setting(0.0, help="Dropout at the last level", minimum=0.0, maximum=0.95)
    cost: str = cost_setting()


class FCN(SegmentationModel):
    """Scores a coarse map, and up to two finer ones, and interpolates their sum.

    Args:
        config: Of the network.
        options: See there.
        make_attention: See there.
        fused: How many finer maps are scored: none in FCN-32s, one in 16s, two in 8s.
    """

    def __init__(
        self,
        config: ModelConfig,
        options: FCNOptions,
        make_attention: MakeAttention,
        *,
        fused: int,
    ) -> None:
        levels = len(options.widths)
        strides = strides_of(options.strides, levels, config.dims)
        super().__init__(config, size_multiple=product(strides))
        self.options = sized(partial(FCN, fused=fused), config, options)
        self.strides = strides
        self.kernels = kernels_of(options.kernels, levels, config.dims)
        self.depth = levels - 1
        widths = [max(1, round(w * options.width_factor)) for w in self.options.widths]
        self.pools = nn.ModuleDict(
            {f"{n}": blocks.max_pool(self.dims, strides[n]) for n in range(1, levels)}
        )
        self._build_groups(widths, make_attention)
        self._build_end(widths, make_attention)
        self.fused = list(range(self.depth - 1, max(0, self.depth - 1 - fused), -1))
        self._build_scores(widths, make_attention)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        pooled: dict[int, Tensor] = {}
        for level in range(self.depth):
            if level:
                x = pooled[level] = self.pools[f"{level}"](x)
            x = self.stages[f"encoder{level}"](x)
        x = self.stages["bottleneck"](self.pools[f"{self.depth}"](x))
        scores = self.scores[f"{self.depth}"](x)
        for level in self.fused:
            skip = self.skips[f"{level}"](pooled[level], x)
            scores = self.ups[f"{level}"](scores) + self.scores[f"{level}"](skip)
        return self.to_input(scores), {}

    def _build_groups(self, widths: list[int], attend: MakeAttention) -> None:
        usual = [*VGG_CONVS, *[3] * self.depth]
        shape = EncoderShape(
            dims=self.dims,
            in_channels=self.config.in_channels,
            widths=tuple(widths),
            strides=self.strides,
            kernels=self.kernels,
            depths=(self.options.convs or tuple(usual))[: self.depth],
            norm=self.options.norm,
        )
        for step in vgg(shape):
            name = f"encoder{step.level}"
            attention = attend("encoder", step.level, step.channels, layer=name)
            self.add_layer(name, Stage(step.module, attention), step.grid, step.channels)

    def _build_end(self, widths: list[int], attend: MakeAttention) -> None:
        kernel, width = self.kernels[-1], widths[-1]
        if self.options.is_published_end:
            width, size = FULLY_CONNECTED[self.dims]
            width = max(1, round(width * self.options.width_factor))
            kernel = cast("Size", tuple(size if k > 1 else 1 for k in kernel))
        first = self._connected(widths[-2], width, kernel)
        second = self._connected(width, width, (1, 1, 1))
        # As torchvision numbers VGG's classifier, each layer with activation and dropout.
        named = [(f"classifier.{n}", one) for n, one in enumerate([*first, *second])]
        above, stride = self.layers[f"encoder{self.depth - 1}"].grid, self.strides[-1]
        grid = above.after(stride, stride, (0, 0, 0)).after(kernel)
        attention = attend("bottleneck", self.depth, width, layer="bottleneck")
        self.add_layer("bottleneck", Stage(published(named), attention), grid, width)

    def _connected(self, channels: int, width: int, kernel: Size) -> list[nn.Module]:
        norm = self.options.norm
        start = conv(self.dims, channels, width, kernel, bias=norm == "none")
        after = [] if norm == "none" else [blocks.norm(self.dims, norm, width)]
        return [start, *after, nn.ReLU(), nn.Dropout(self.options.dropout)]

    def _build_scores(self, widths: list[int], attend: MakeAttention) -> None:
        classes, deepest = self.config.out_channels, self.layers["bottleneck"].channels
        self.skips, self.ups = nn.ModuleDict(), nn.ModuleDict()
        self.scores = nn.ModuleDict({f"{self.depth}": score(self.dims, deepest, classes)})
        for level in self.fused:
            # What is scored was pooled to this level, so it has the channels of the one above.
            channels = widths[level - 1]
            self.skips[f"{level}"] = attend(
                "skip", level, channels, layer=f"encoder{level}", context_channels=deepest
            )
            self.scores[f"{level}"] = score(self.dims, channels, classes)
            self.ups[f"{level}"] = bilinear(self.dims, classes, self.strides[level + 1])
        finest = (self.fused or [self.depth])[-1]
        self.to_input = bilinear(self.dims, classes, product(self.strides[: finest + 1]))


def score(dims: int, channels: int, classes: int) -> nn.Module:
    """Return a layer that scores classes, starting with none preferred."""
    made = conv(dims, channels, classes, 1, bias=True)
    nn.init.zeros_(cast("Tensor", made.weight))
    return made


def bilinear(dims: int, classes: int, stride: Size) -> nn.Module:
    """Return a transposed convolution that starts as linear interpolation of each class.

    In images it it can mix classes, as published; in volumes, where kernels are large, it cannot.

    Args:
        dims: 2 or 3.
        classes: Channels in and out.
        stride: Along D, H and W; the size is multiplied by it.
    """
    steps = per_axis(stride, dims)
    kernel = tuple(2 * step - step % 2 for step in steps)
    padding = tuple((size - step) // 2 for size, step in zip(kernel, steps, strict=True))
    layer: Any = nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d
    groups = 1 if dims == 2 else classes
    made = layer(classes, classes, kernel, steps, padding, bias=False, groups=groups)
    weights = torch.ones(())
    for step, size in zip(steps, kernel, strict=True):
        distance = torch.arange(size) - (size - 1) / 2
        weights = weights[..., None] * (1 - distance.abs() / step)
    with torch.no_grad():
        made.weight.zero_()
        for index in range(classes):
            made.weight[index, index if groups == 1 else 0] = weights
    return made


PAPER = {
    "widths": (64, 128, 256, 512, 512, 4096),
    "is_published_end": True,
    "norm": "none",
    "dropout": 0.5,
}
SMALL = {**PAPER, "width_factor": 0.25}
TINY = {"widths": (8, 16, 16, 32), "convs": (1, 1, 1)}
PRESETS = {
    "paper": Preset("As published: VGG-16", PAPER, 3, 21),
    "small": Preset("A quarter of the channels", SMALL, 3, 21),
    "plan": Preset("Sized by the plan from your cases", {"cost": "unet"}),
    "tiny": Preset("Trains on a CPU in seconds", TINY),
}
SITES = ("encoder", "bottleneck")

for _name, _fused, _words in (
    ("32s", 0, "the coarsest map alone is"),
    ("16s", 1, "the two coarsest maps are"),
    ("8s", 2, "the three coarsest maps are"),
):
    BACKBONES.register(f"fcn{_name}")(
        Backbone(
            title=f"FCN-{_name}",
            summary=f"Fully convolutional, {_words} scored and interpolated; Long et al. 2015.",
            build=partial(FCN, fused=_fused),
            options=FCNOptions,
            presets=PRESETS,
            dims=(2, 3),
            sites=(*SITES, "skip") if _fused else SITES,
        )
    )
