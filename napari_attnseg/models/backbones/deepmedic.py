"""DeepMedic (Kamnitsas et al. 2017, arXiv 1603.05959)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.contract import (
    Auxiliary,
    LayerGrid,
    MakeAttention,
    ModelError,
    SegmentationModel,
)
from napari_attnseg.models.levels import common_multiple
from napari_attnseg.models.multiscale import Pathway, activation, unpadded_conv, unpadded_unit
from napari_attnseg.models.sizing import cost_setting, rounded_width, sized
from napari_attnseg.models.unet import Stage

PATH = (30, 30, 40, 40, 40, 40, 50, 50)
FUSED = (150, 150)


@dataclass(frozen=True)
class DeepMedicOptions(Config):
    """What DeepMedics differ in."""

    path: tuple[int, ...] = setting(PATH, help="Channels of each convolution of a pathway")
    fused: tuple[int, ...] = setting(FUSED, help="Channels of each layer after all are joined")
    factors: tuple[Any, ...] = setting(
        ((3, 3, 3),), help="Voxels from sample to sample of each coarser pathway, along D, H and W"
    )
    fused_kernel: int = setting(1, help="Kernel of the first joined layer", minimum=1)
    residual: tuple[int, ...] = setting(
        (), help="Convolutions of a pathway, from 1, to which the last but one is added"
    )
    norm: str = setting(
        "batch", help="Normalisation", choices=("batch", "instance", "group", "none")
    )
    dropout: float = setting(
        0.5, help="Dropout before the last two layers", minimum=0.0, maximum=0.95
    )
    widths: tuple[int, ...] = setting((), help="Widths of a planned U-Net, with cost 'unet'")
    strides: tuple[Any, ...] = setting((), help="Steps of that U-Net: axes sampled by pathways")
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel of each pathway along D, H and W; the last is that of all further ones"
    )
    cost: str = cost_setting()


class DeepMedic(SegmentationModel):
    """Pathways that see the image fine and near, and coarse and far, around the same voxels.

    It pads nothing: what lies around a window is looked at as it is (`context_margin`). Its
    layers are ``encoder0``, the pathway at full resolution, ``encoder1`` and further ones, the
    coarser pathways by their order, and ``decoder1`` and ``decoder0``, the layers where all are
    joined. Attention at the bottleneck is that at the first of these; on the skip, the pathway at
    full resolution is compared with the first coarser one.
    """

    def __init__(
        self, config: ModelConfig, options: DeepMedicOptions, make_attention: MakeAttention
    ) -> None:
        own = sized(DeepMedic, config, options, _scaled)
        factors, kernels = _factors(own, config.dims), _kernels(own, config.dims)
        fused_reach = cast(
            "Size", tuple(own.fused_kernel // 2 if k > 1 else 0 for k in kernels[0])
        )
        multiple = common_multiple(*factors)
        super().__init__(config, size_multiple=multiple)
        self.options = own
        self.fused_reach = fused_reach
        self.paths = [
            Pathway(
                config.dims,
                config.in_channels,
                own.path,
                kernel,
                factor,
                norm=own.norm,
                residual=own.residual,
            )
            for factor, kernel in zip(factors, kernels, strict=True)
        ]
        self.context_margin = _margin(self.paths, fused_reach, multiple)
        self._build_paths(make_attention)
        self._build_fused(make_attention)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        maps = []
        for index, path in enumerate(self.paths):
            seen = path.samples(x, self.context_margin, self.fused_reach)
            y = self.stages[f"encoder{index}"](seen)
            maps.append(path.at_full_resolution(y, self.fused_reach))
        maps[0] = self.skip(maps[0], maps[1])
        x = self.stages["decoder1"](self.concat(torch.cat(maps, dim=CHANNEL)))
        x = self.stages["decoder0"](x)
        return self.head(self.head_attention(x)), {}

    def _build_paths(self, attend: MakeAttention) -> None:
        width = self.options.path[-1]
        for index, path in enumerate(self.paths):
            name = f"encoder{index}"
            attention = attend("encoder", index, width, layer=name)
            grid = path.grid(self.context_margin, self.fused_reach)
            self.add_layer(name, Stage(path, attention), grid, width)
        self.skip = attend("skip", 0, width, layer="encoder0", context_channels=width)

    def _build_fused(self, attend: MakeAttention) -> None:
        joined, (first, *others) = len(self.paths) * self.options.path[-1], self.options.fused
        self.concat = attend("concat", 0, joined, layer="encoder0")
        size = tuple(2 * reach + 1 for reach in self.fused_reach)
        block = unpadded_unit(self.dims, joined, first, cast("Size", size), self.options.norm)
        grid = LayerGrid(
            offset_dhw=cast("Any", tuple(map(float, self.context_margin))),
            field_dhw=self._field(),
        )
        attention = attend("bottleneck", 0, first, layer="decoder1")
        self.add_layer("decoder1", Stage(block, attention), grid, first)
        units = [
            self._point_unit(a, b, has_dropout=index == len(others))
            for index, (a, b) in enumerate(zip([first, *others], others, strict=False), start=1)
        ]
        last = self.options.fused[-1]
        attention = attend("decoder", 0, last, layer="decoder0")
        self.add_layer("decoder0", Stage(nn.Sequential(*units), attention), grid, last)
        self.head_attention = attend("head", 0, last, layer="decoder0")
        self.head = nn.Sequential(
            blocks.norm(self.dims, self.options.norm, last),
            activation(last),
            nn.Dropout(self.options.dropout),
            blocks.conv(self.dims, last, self.config.out_channels, 1),
        )

    def _point_unit(self, channels: int, out: int, *, has_dropout: bool) -> nn.Sequential:
        norm = self.options.norm
        return nn.Sequential(
            blocks.norm(self.dims, norm, channels),
            activation(channels),
            nn.Dropout(self.options.dropout if has_dropout else 0.0),
            unpadded_conv(self.dims, channels, out, (1, 1, 1), bias=norm == "none"),
        )

    def _field(self) -> Size:
        """Return what all pathways together see around a voxel."""
        seen = []
        for axis in range(3):
            rows = (
                2 * (path.reach[axis] * path.factor[axis] + self.fused_reach[axis]) + 1
                for path in self.paths
            )
            seen.append(max(rows))
        return cast("Size", tuple(seen))


def _factors(options: DeepMedicOptions, dims: int) -> list[Size]:
    given = [tuple(one) for one in options.factors]
    if not given or any(len(one) != 3 or min(one) < 1 for one in given):
        raise ModelError(
            f"factors is {options.factors}; give three positive numbers, for D, H and W, for each "
            "coarser pathway, of which there is at least one."
        )
    if min(map(len, (options.path, options.fused))) < 1 or max(options.residual, default=0) > len(
        options.path
    ):
        raise ModelError(
            f"path is {options.path}, fused {options.fused} and residual {options.residual}; give "
            "one or more channels each, and numbers of convolutions that there are."
        )
    return [(1, 1, 1), *((d if dims == 3 else 1, h, w) for d, h, w in given)]


def _kernels(options: DeepMedicOptions, dims: int) -> list[Size]:
    given = [tuple(one) for one in options.kernels] or [(3, 3, 3)]
    if any(len(one) != 3 or any(size % 2 == 0 for size in one) for one in given):
        raise ModelError(f"kernels is {options.kernels}; give three odd numbers for each pathway.")
    rows = [given[min(path, len(given) - 1)] for path in range(1 + len(options.factors))]
    return [(d if dims == 3 else 1, h, w) for d, h, w in rows]


def _margin(paths: list[Pathway], fused_reach: Size, multiple: Size) -> Size:
    """Return the least multiple that is enough for all pathways.

    With a multiple, samples lie at the same voxels whichever window they are seen from.
    """
    margin = []
    for axis in range(3):
        needed = max(
            (path.reach[axis] + -(-fused_reach[axis] // path.factor[axis])) * path.factor[axis]
            for path in paths
        )
        margin.append(math.ceil(needed / multiple[axis]) * multiple[axis])
    return cast("Size", tuple(margin))


def _scaled(options: DeepMedicOptions, factor: float) -> DeepMedicOptions:
    """Return options of its own: the published widths times a factor, for axes that are pooled."""
    step = options.strides[1] if len(options.strides) > 1 else (2, 2, 2)
    return cast(
        "DeepMedicOptions",
        options.replace(
            path=tuple(rounded_width(width * factor) for width in PATH),
            fused=tuple(rounded_width(width * factor) for width in FUSED),
            factors=(tuple(3 if one > 1 else 1 for one in step),),
            cost="own",
        ),
    )


REPOSITORY = {
    "fused": (250, 250),
    "factors": ((3, 3, 3), (5, 5, 5)),
    "fused_kernel": 3,
    "residual": (4, 6, 8),
}
# Batches of a few patches say little about the statistics of a batch.
PLAN = {"norm": "instance", "cost": "unet", "widths": (16, 32, 64, 128), "dropout": 0.1}
TINY = {"path": (8, 8, 10, 10), "fused": (16, 16), "dropout": 0.0}

BACKBONES.register("deepmedic")(
    Backbone(
        title="DeepMedic",
        summary="Pathways that see fine and near, coarse and far; Kamnitsas et al. 2017.",
        build=DeepMedic,
        options=DeepMedicOptions,
        presets={
            "paper": Preset("As published: two pathways", {}, 4, 5),
            "repository": Preset("As in the authors' repository: three", REPOSITORY, 2, 5),
            "plan": Preset("Sized by the plan from your cases", PLAN),
            "tiny": Preset("Trains on a CPU in seconds", TINY),
        },
        dims=(3, 2),
    )
)
