"""U-Net with a ResNet encoder (Li et al. 2021, doi 10.1117/12.2623112)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.contract import Auxiliary, LayerGrid, MakeAttention, SegmentationModel
from napari_attnseg.models.encoders import ENCODERS, EncoderShape, depths_of
from napari_attnseg.models.levels import kernels_of, level_name, product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.unet import Join, Stage


@dataclass(frozen=True)
class ResNetUNetOptions(Config):
    """What they differ in. Levels count from 0, full resolution; the last is the bottleneck."""

    widths: tuple[int, ...] = setting(
        (16, 32, 64, 128), help="Channels of each level; the first are those of the decoder"
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
    block: str = setting("basic", help="Residual blocks", choices=("basic", "bottleneck"))
    stem_kernel: int = setting(3, help="Kernel of the first convolution", minimum=1)
    norm: str = setting("instance", help="Normalisation", choices=("batch", "instance", "group"))
    cost: str = cost_setting()


class ResNetUNet(SegmentationModel):
    """ResNet encoder and U-Net decoder, whose finest skip is the image itself."""

    def __init__(
        self, config: ModelConfig, options: ResNetUNetOptions, make_attention: MakeAttention
    ) -> None:
        levels = len(options.widths)
        strides = strides_of(options.strides, levels, config.dims)
        super().__init__(config, size_multiple=product(strides))
        self.options = sized(ResNetUNet, config, options)
        self.strides = strides
        self.kernels = kernels_of(options.kernels, levels, config.dims)
        self.depth = levels - 1
        self.joins = nn.ModuleDict()
        self._build_encoder(make_attention)
        self._build_decoder(make_attention)
        top = self.options.widths[0]
        self.head_attention = make_attention("head", 0, top, layer="decoder0")
        self.head = blocks.conv(self.dims, top, config.out_channels, 1)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        skips = []
        for level in range(1, self.depth + 1):
            skips.append(x)
            x = self.stages[level_name(level, self.depth)](x)
        for level in reversed(range(self.depth)):
            x = self.stages[f"decoder{level}"](self.joins[f"{level}"](skips.pop(), x))
        return self.head(self.head_attention(x)), {}

    def _build_encoder(self, attend: MakeAttention) -> None:
        options = self.options
        shape = EncoderShape(
            dims=self.dims,
            in_channels=self.config.in_channels,
            widths=options.widths,
            strides=self.strides,
            kernels=self.kernels,
            depths=depths_of(options.depths, self.depth - 1),
            stem_kernel=options.stem_kernel,
            norm=options.norm,
            block=options.block,
        )
        for step in ENCODERS["resnet"](shape):
            name = level_name(step.level, self.depth)
            site = "bottleneck" if step.level == self.depth else "encoder"
            attention = attend(site, step.level, step.channels, layer=name)
            self.add_layer(name, Stage(step.module, attention), step.grid, step.channels)

    def _build_decoder(self, attend: MakeAttention) -> None:
        dims, kernels = self.dims, self.kernels
        style = blocks.UnitStyle(self.options.norm, "relu", bias=False)
        seen, channels = self.layers["bottleneck"].grid, self.options.widths[-1]
        for level in reversed(range(self.depth)):
            name, width = f"decoder{level}", self.options.widths[level]
            fine = self.layers.get(f"encoder{level}")
            skipped = fine.channels if fine else self.config.in_channels
            self.joins[f"{level}"] = self._join(level, skipped, channels, attend)
            own = fine.grid if fine else LayerGrid()
            seen = LayerGrid(own.stride_dhw, own.offset_dhw, seen.field_dhw)
            seen = seen.after(kernels[level]).after(kernels[level])
            block = nn.Sequential(
                blocks.conv_unit(dims, skipped + width, width, kernels[level], style),
                blocks.conv_unit(dims, width, width, kernels[level], style),
            )
            attention = attend("decoder", level, width, layer=name)
            self.add_layer(name, Stage(block, attention), seen, width)
            channels = width

    def _join(self, level: int, skipped: int, channels: int, attend: MakeAttention) -> Join:
        """Return what joins a skip of so many channels with the coarser map."""
        width, name = self.options.widths[level], f"decoder{level}"
        # At full resolution the image is skipped, which has no features to be attended to.
        skip = (
            attend("skip", level, skipped, layer=f"encoder{level}", context_channels=channels)
            if level
            else Passed()
        )
        up = blocks.up_conv(self.dims, channels, width, self.strides[level + 1])
        concat = attend("concat", level, skipped + width, layer=name)
        return Join(skip, up, concat, nn.Identity())


class Passed(nn.Module):
    """A skip that nothing attends to."""

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return x


RESNET50 = {
    "widths": (64, 64, 256, 512, 1024, 2048),
    "depths": (3, 4, 6, 3),
    "block": "bottleneck",
    "stem_kernel": 7,
    "norm": "batch",
}
RESNET18 = {
    "widths": (64, 64, 64, 128, 256, 512),
    "stem_kernel": 7,
    "norm": "batch",
}

BACKBONES.register("resnet-unet")(
    Backbone(
        title="U-Net with ResNet encoder",
        summary="Decoder of a U-Net on the levels of a ResNet; Li et al. 2021.",
        build=ResNetUNet,
        options=ResNetUNetOptions,
        presets={
            "paper": Preset("As published: ResNet-50", RESNET50, 3, 1),
            "resnet18": Preset("With ResNet-18", RESNET18, 3, 1),
            "plan": Preset("Sized by the plan from your cases", {"cost": "unet"}),
            "tiny": Preset(
                "Trains on a CPU in seconds", {"widths": (8, 16, 16, 32), "depths": (1, 1)}
            ),
        },
        dims=(2, 3),
    )
)
