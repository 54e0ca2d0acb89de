"""Swin UNETR (Hatamizadeh et al. 2022, arXiv 2201.01266), from MONAI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.contract import Auxiliary, LayerGrid, MakeAttention, ModelError
from napari_attnseg.models.levels import product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.unet import Stage
from napari_attnseg.models.wrapped import WrappedModel, with_safe_norms

DEPTH = 5
"""Times that the image is halved."""

WIDTH_STEP = 12
"""MONAI takes multiples of this."""


@dataclass(frozen=True)
class SwinUNETROptions(Config):
    """What Swin UNETRs differ in."""

    width: int = setting(24, help="Channels at full resolution, a multiple of 12", minimum=12)
    depths: tuple[int, ...] = setting((2, 2, 2, 2), help="Transformer blocks of each stage")
    heads: tuple[int, ...] = setting((3, 6, 12, 24), help="Attention heads of each stage")
    window: int = setting(7, help="Voxels of a stage that attend to each other, along an axis")
    merging: str = setting(
        "merging",
        help="Order in which neighbours are merged: as in the published weights, or the newer one",
        choices=("merging", "mergingv2"),
    )
    normalise: bool = setting(True, help="Normalise what the stages give")
    dropout: float = setting(0.0, help="Dropout", minimum=0.0, maximum=0.95)
    drop_path: float = setting(0.0, help="Whole blocks left out", minimum=0.0, maximum=0.95)
    widths: tuple[int, ...] = setting((), help="Widths of a planned U-Net, with cost 'unet'")
    strides: tuple[Any, ...] = setting((), help="Steps of that U-Net; this network takes 2")
    kernels: tuple[Any, ...] = setting((), help="Kernels of that U-Net; this network has 3")
    cost: str = cost_setting()


class SwinUNETR(WrappedModel):
    """MONAI's Swin UNETR with places for attention.

    A transformer sees the image in shifted windows; what its stages give passes an encoder block
    each and is joined as in a U-Net. The attention of its windows is not recorded: it is computed
    inside MONAI's blocks, shifted and with biases of position, which rows of a query and a key
    cannot tell. Weights of MONAI's own network load with `load_theirs`.
    """

    def __init__(
        self, config: ModelConfig, options: SwinUNETROptions, make_attention: MakeAttention
    ) -> None:
        own = sized(SwinUNETR, config, options, _scaled)
        super().__init__(config, size_multiple=product(strides_of((), DEPTH + 1, config.dims)))
        self.options = own
        self.normalises = own.normalise
        network = _monai_network(config, own)
        self.swin = network.swinViT
        self.rises, self.skips = nn.ModuleDict(), nn.ModuleDict()
        self.concats = nn.ModuleDict()
        self._build_encoder(network, make_attention)
        self._build_decoder(network, make_attention)
        self.head_attention = make_attention("head", 0, own.width, layer="decoder0")
        self.head = network.out
        self.note_names(network)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        levels = [x, *self.swin(x, self.normalises)]
        x = levels.pop()
        skips = [self.stages[f"encoder{level}"](one) for level, one in enumerate(levels)]
        x = self.stages["bottleneck"](x)
        for level in reversed(range(DEPTH)):
            skip = self.skips[f"{level}"](skips[level], x)
            joined = torch.cat([self.rises[f"{level}"](x), skip], dim=CHANNEL)
            x = self.stages[f"decoder{level}"](self.concats[f"{level}"](joined))
        return self.head(self.head_attention(x)), {}

    def _build_encoder(self, network: Any, attend: MakeAttention) -> None:
        # The fourth stage is joined as it is.
        blocks = [network.encoder1, network.encoder2, network.encoder3, network.encoder4, None]
        grid = LayerGrid()
        for level, block in enumerate([*blocks, network.encoder10]):
            if level:
                grid = self._merged(grid)
            seen = grid if block is None else self._convolved(grid)
            width, name = self._width(level), f"encoder{level}"
            site, name = ("encoder", name) if level < DEPTH else ("bottleneck", "bottleneck")
            attention = attend(site, level, width, layer=name)
            self.add_layer(name, Stage(block or nn.Identity(), attention), seen, width)

    def _build_decoder(self, network: Any, attend: MakeAttention) -> None:
        ups = [
            network.decoder1,
            network.decoder2,
            network.decoder3,
            network.decoder4,
            network.decoder5,
        ]
        seen = self.layers["bottleneck"].grid
        for level in reversed(range(DEPTH)):
            width, name = self._width(level), f"decoder{level}"
            self.rises[f"{level}"] = ups[level].transp_conv
            self.skips[f"{level}"] = attend(
                "skip",
                level,
                width,
                layer=f"encoder{level}",
                context_channels=self._width(level + 1),
            )
            self.concats[f"{level}"] = attend("concat", level, 2 * width, layer=name)
            own = self.layers[f"encoder{level}"].grid
            seen = self._convolved(LayerGrid(own.stride_dhw, own.offset_dhw, seen.field_dhw))
            attention = attend("decoder", level, width, layer=name)
            self.add_layer(name, Stage(ups[level].conv_block, attention), seen, width)

    def _width(self, level: int) -> int:
        return self.options.width * 2 ** max(0, level - 1)

    def _merged(self, grid: LayerGrid) -> LayerGrid:
        step = cast("Size", (2 if self.dims == 3 else 1, 2, 2))
        return grid.after(step, step, (0, 0, 0))

    def _convolved(self, grid: LayerGrid) -> LayerGrid:
        kernel = cast("Size", (3 if self.dims == 3 else 1, 3, 3))
        return grid.after(kernel).after(kernel)


class _NumbersOfPlainArrays(TorchFunctionMode):
    """Lets MONAI read numbers from `torch.linspace` where tensors hold none, as on meta."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.linspace:
            return np.linspace(*args)
        return func(*args, **(kwargs or {}))


def _monai_network(config: ModelConfig, options: SwinUNETROptions) -> Any:
    # MONAI takes seconds and half a gigabyte to import, so only who builds this pays for it.
    from monai.networks.nets import SwinUNETR as MonaiSwinUNETR

    if options.width % WIDTH_STEP:
        raise ModelError(
            f"width is {options.width}; give a multiple of {WIDTH_STEP}, as MONAI wants it."
        )
    if len(options.depths) != 4 or len(options.heads) != 4:
        raise ModelError(
            f"depths is {options.depths} and heads {options.heads}; give four numbers each, one "
            "for every stage."
        )
    with _NumbersOfPlainArrays():
        network = MonaiSwinUNETR(
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            spatial_dims=config.dims,
            feature_size=options.width,
            depths=options.depths,
            num_heads=options.heads,
            window_size=options.window,
            drop_rate=options.dropout,
            dropout_path_rate=options.drop_path,
            downsample=options.merging,
        )
    return with_safe_norms(network)


def _scaled(options: SwinUNETROptions, factor: float) -> SwinUNETROptions:
    """Return options of its own, with the largest width that costs no more."""
    width = WIDTH_STEP * max(1, int(2 * factor + 1e-6))
    return cast("SwinUNETROptions", options.replace(width=width, cost="own"))


PLAN = {"cost": "unet", "widths": (16, 32, 64, 128)}
TINY = {"width": 12, "depths": (1, 1, 1, 1), "window": 4}

BACKBONES.register("swinunetr")(
    Backbone(
        title="Swin UNETR",
        summary="A windowed transformer as encoder of a U-Net, from MONAI; Hatamizadeh 2022.",
        build=SwinUNETR,
        options=SwinUNETROptions,
        presets={
            "paper": Preset("As published: 48 channels", {"width": 48}, 4, 3),
            "monai": Preset("MONAI's default: 24 channels", {}, 1, 2),
            "plan": Preset("Sized by the plan from your cases", PLAN),
            "tiny": Preset("Trains on a CPU in seconds", TINY),
        },
        dims=(3, 2),
    )
)
