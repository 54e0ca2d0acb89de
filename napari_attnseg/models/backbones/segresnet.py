"""SegResNet (Myronenko 2018, arXiv 1810.11654), from MONAI."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.contract import Auxiliary, LayerGrid, MakeAttention, ModelError
from napari_attnseg.models.levels import level_name, product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.unet import Stage
from napari_attnseg.models.wrapped import WrappedModel, with_safe_norms

BLOCKS = (1, 2, 2, 4)
"""Residual blocks of each level as published; deeper ones have as many as the last."""


@dataclass(frozen=True)
class SegResNetOptions(Config):
    """What SegResNets differ in. Channels double at each level; the last is the bottleneck."""

    width: int = setting(8, help="Channels of level 0", minimum=1)
    blocks: tuple[int, ...] = setting(BLOCKS, help="Residual blocks of each encoder level")
    decoder_blocks: int = setting(1, help="Residual blocks of each decoder level", minimum=1)
    groups: int = setting(8, help="Groups of channels that are normalised together", minimum=1)
    up: str = setting(
        "linear", help="How maps get larger", choices=("linear", "deconv", "pixelshuffle")
    )
    dropout: float = setting(
        0.0, help="Dropout after the first convolution", minimum=0.0, maximum=0.95
    )
    widths: tuple[int, ...] = setting((), help="Widths of a planned U-Net, with cost 'unet'")
    strides: tuple[Any, ...] = setting((), help="Steps of that U-Net; this network takes 2")
    kernels: tuple[Any, ...] = setting((), help="Kernels of that U-Net; this network has 3")
    cost: str = cost_setting()


class SegResNet(WrappedModel):
    """MONAI's SegResNet with places for attention; skips are added to what rises.

    Weights of MONAI's own network load with `load_theirs`.
    """

    def __init__(
        self, config: ModelConfig, options: SegResNetOptions, make_attention: MakeAttention
    ) -> None:
        own = sized(SegResNet, config, options, _scaled)
        depth, dims = len(own.blocks) - 1, config.dims
        if depth < 1 or min(own.blocks) < 1:
            raise ModelError(
                f"blocks is {own.blocks}; give two or more positive numbers, one for each level."
            )
        super().__init__(config, size_multiple=product(strides_of((), depth + 1, dims)))
        self.options = own
        self.depth = depth
        network = _monai_network(config, own)
        self.first = network.convInit
        self.dropout = network.dropout if own.dropout else nn.Identity()
        self.rises, self.skips = nn.ModuleDict(), nn.ModuleDict()
        self.sums = nn.ModuleDict()
        self._build_encoder(network, make_attention)
        self._build_decoder(network, make_attention)
        self.head_attention = make_attention("head", 0, own.width, layer="decoder0")
        self.head = network.conv_final
        self.note_names(network)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        x = self.dropout(self.first(x))
        skips: list[Tensor] = []
        for level in range(self.depth + 1):
            x = self.stages[level_name(level, self.depth)](x)
            skips.append(x)
        skips.pop()
        for level in reversed(range(self.depth)):
            skip = self.skips[f"{level}"](skips.pop(), x)
            joined = self.sums[f"{level}"](self.rises[f"{level}"](x) + skip)
            x = self.stages[f"decoder{level}"](joined)
        return self.head(self.head_attention(x)), {}

    def _build_encoder(self, network: Any, attend: MakeAttention) -> None:
        grid = self._after(LayerGrid(), 1)
        for level, block in enumerate(network.down_layers):
            name, width = level_name(level, self.depth), self.options.width * 2**level
            if level:
                grid = self._after(grid, 2)
            for _ in range(2 * self.options.blocks[level]):
                grid = self._after(grid, 1)
            site = "bottleneck" if level == self.depth else "encoder"
            attention = attend(site, level, width, layer=name)
            self.add_layer(name, Stage(block, attention), grid, width)

    def _build_decoder(self, network: Any, attend: MakeAttention) -> None:
        seen = self.layers["bottleneck"].grid
        for index, (rise, block) in enumerate(
            zip(network.up_samples, network.up_layers, strict=True)
        ):
            level = self.depth - 1 - index
            name, width = f"decoder{level}", self.options.width * 2**level
            self.rises[f"{level}"] = rise
            self.skips[f"{level}"] = attend(
                "skip", level, width, layer=f"encoder{level}", context_channels=2 * width
            )
            self.sums[f"{level}"] = attend("concat", level, width, layer=name)
            own = self.layers[f"encoder{level}"].grid
            seen = LayerGrid(own.stride_dhw, own.offset_dhw, seen.field_dhw)
            for _ in range(2 * self.options.decoder_blocks):
                seen = self._after(seen, 1)
            attention = attend("decoder", level, width, layer=name)
            self.add_layer(name, Stage(block, attention), seen, width)

    def _after(self, grid: LayerGrid, step: int) -> LayerGrid:
        first = 3 if self.dims == 3 else 1
        return grid.after((first, 3, 3), (step if self.dims == 3 else 1, step, step))


def _scaled(options: SegResNetOptions, factor: float) -> SegResNetOptions:
    """Return options of its own for a planned U-Net times a factor.

    This network steps along all axes at once, so it has as many levels as the plan has steps
    along the axis that it steps along least.
    """
    steps = [axis for axis in zip(*options.strides, strict=True) if max(axis) > 1]
    counts = [sum(step > 1 for step in axis) for axis in steps] or [len(options.widths) - 1]
    levels = max(2, 1 + min(counts))
    width = max(4, 2 * round(options.widths[0] * factor / 2))
    return cast(
        "SegResNetOptions",
        options.replace(
            width=width,
            blocks=tuple(BLOCKS[min(level, len(BLOCKS) - 1)] for level in range(levels)),
            groups=math.gcd(width, options.groups),
            cost="own",
        ),
    )


def _monai_network(config: ModelConfig, options: SegResNetOptions) -> Any:
    # MONAI takes seconds and half a gigabyte to import, so only who builds this pays for it.
    from monai.networks.nets import SegResNet as MonaiSegResNet

    if options.width % options.groups:
        raise ModelError(
            f"width is {options.width} and groups {options.groups}; give a width that the groups "
            "divide."
        )
    network = MonaiSegResNet(
        spatial_dims=config.dims,
        init_filters=options.width,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        dropout_prob=options.dropout or None,
        act=("RELU", {"inplace": False}),
        norm=("GROUP", {"num_groups": options.groups}),
        blocks_down=options.blocks,
        blocks_up=(options.decoder_blocks,) * (len(options.blocks) - 1),
        upsample_mode="nontrainable" if options.up == "linear" else options.up,
    )
    return with_safe_norms(network)


PLAN = {"cost": "unet", "widths": (16, 32, 64, 128)}

BACKBONES.register("segresnet")(
    Backbone(
        title="SegResNet",
        summary="Residual encoder and light decoder with added skips, from MONAI; Myronenko 2018.",
        build=SegResNet,
        options=SegResNetOptions,
        presets={
            "paper": Preset("As published, without its autoencoder", {"width": 32}, 4, 3),
            "monai": Preset("MONAI's default: 8 channels at first", {}, 1, 2),
            "plan": Preset("Sized by the plan from your cases", PLAN),
            "tiny": Preset("Trains on a CPU in seconds", {"blocks": (1, 1, 1)}),
        },
        dims=(3, 2),
    )
)
