"""H-DenseUNet (Li et al. 2018, arXiv 1709.07330)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models import blocks
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.contract import (
    Auxiliary,
    Criterion,
    LayerGrid,
    MakeAttention,
    ModelOutput,
    SegmentationModel,
)
from napari_attnseg.models.densebranch import (
    BranchShape,
    DenseBranch,
    ShownAgain,
    SkipsOnly,
    flat,
    scored_unit,
)
from napari_attnseg.models.encoders import EncoderShape, depths_of
from napari_attnseg.models.levels import kernels_of, product, strides_of
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.unet import Stage

SLICES = "slice_"
"""Begins the names of layers that see each slice with its neighbours."""


@dataclass(frozen=True)
class HDenseUNetOptions(Config):
    """What H-DenseUNets differ in. Levels count from 0, full resolution."""

    widths: tuple[int, ...] = setting(
        (16, 32, 64, 128), help="Channels of each decoder level; the second are those of the stem"
    )
    slice_widths: tuple[int, ...] = setting(
        (), help="As `widths`, of the network of slices; none means the same"
    )
    strides: tuple[Any, ...] = setting(
        (), help="Step into each level along D, H and W, first (1, 1, 1); none means 2 everywhere"
    )
    kernels: tuple[Any, ...] = setting(
        (), help="Kernel of each level along D, H and W; none means 3 everywhere"
    )
    depths: tuple[int, ...] = setting(
        (), help="Dense layers of each level from the third on; none means 2 everywhere"
    )
    slice_depths: tuple[int, ...] = setting(
        (), help="As `depths`, of the network of slices; none means the same"
    )
    growth: int = setting(
        0, help="Channels that a dense layer adds; 0 means the first of `widths`", minimum=0
    )
    slice_growth: int = setting(
        0, help="As `growth`, of the network of slices; 0 means the same", minimum=0
    )
    stem_kernel: int = setting(3, help="Kernel of the first convolution", minimum=1)
    norm: str = setting("instance", help="Normalisation", choices=("batch", "instance", "group"))
    dropout: float = setting(0.0, help="Dropout before scores", minimum=0.0, maximum=0.95)
    has_slice_skips: bool = setting(True, help="Skips in the network of slices")
    logit_scale: float = setting(
        1.0, help="Multiplies the scores of slices that volumes see; 250 beside Hounsfield units"
    )
    branch_weight: float = setting(
        0.5, help="Of the losses of slices' and volumes' own scores", minimum=0.0
    )
    stage: str = setting(
        "hybrid",
        help="What learns: the network of slices, then that of volumes and what joins them, "
        "then all",
        choices=("2d", "3d", "hybrid"),
    )
    cost: str = cost_setting()


class DenseUNet(SegmentationModel):
    """The network of slices alone."""

    def __init__(
        self, config: ModelConfig, options: HDenseUNetOptions, make_attention: MakeAttention
    ) -> None:
        strides = strides_of(options.strides, len(options.widths), 2)
        super().__init__(config, size_multiple=product(strides))
        self.options = sized(DenseUNet, config, options)
        kernels = kernels_of(options.kernels, len(options.widths), 2)
        shape = slice_shape(self.options, 2, config.in_channels, strides, kernels)
        self.branch = DenseBranch(
            self, branch_shape(self.options, shape, config, is_slices=True), make_attention
        )
        top = self.branch.shape.widths[0]
        self.head_attention = make_attention("head", 0, top, layer="decoder0")

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        features = self.branch.features(self.stages, x)
        return self.branch.score(self.head_attention(features)), {}


class HDenseUNet(SegmentationModel):
    """A network of slices whose scores a network of volumes refines, and both joined.

    Its three stages of training have the same weights, so that each goes on from the last.
    """

    def __init__(
        self, config: ModelConfig, options: HDenseUNetOptions, make_attention: MakeAttention
    ) -> None:
        levels, classes = len(options.widths), config.out_channels
        strides = strides_of(options.strides, levels, 3)
        super().__init__(config, size_multiple=product(strides))
        self.options = options = sized(HDenseUNet, config, options)
        kernels = kernels_of(options.kernels, levels, 3)
        slices = slice_shape(options, 3, config.in_channels, flat(strides), flat(kernels))
        self.slices = DenseBranch(
            self,
            branch_shape(options, slices, config, is_slices=True, prefix=SLICES),
            SkipsOnly(make_attention),
        )
        self.shown_again = ShownAgain(options.logit_scale)
        volumes = volume_shape(options, config.in_channels + classes, strides, kernels)
        self.volumes = DenseBranch(
            self, branch_shape(options, volumes, config, is_slices=False), make_attention
        )
        self._build_fusion(kernels[0], make_attention)
        self._freeze()

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        flat_features = self.slices.features(self.stages, x)
        flat_scores = self.slices.score(flat_features)
        if self.options.stage == "2d":
            return flat_scores, {}
        seen = torch.cat([x, self.shown_again(flat_scores)], dim=CHANNEL)
        features = self.volumes.features(self.stages, seen)
        joined = self.concat_attention(features + flat_features)
        logits = self.head(self.head_attention(self.stages["fusion"](joined)))
        if not self.training:
            return logits, {}
        own = [self.volumes.score(features)]
        return logits, {"branches": own if self.options.stage == "3d" else [flat_scores, *own]}

    def network_loss(self, output: ModelOutput, target: Tensor, criterion: Criterion) -> Tensor:
        """Return the loss of the logits and, weighted, of those of slices and of volumes."""
        losses = [criterion(output.logits, target)]
        for scores in output.auxiliary.get("branches", []):
            losses.append(self.options.branch_weight * criterion(scores, target))
        return torch.stack(losses).sum()

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but keep the statistics of what does not learn in this stage."""
        super().train(mode)
        if self.options.stage == "3d":
            for part in self._slice_parts():
                part.eval()
        return self

    def _build_fusion(self, kernel: Size, attend: MakeAttention) -> None:
        options = self.options
        width, classes = options.widths[0], self.config.out_channels
        self.concat_attention = attend("concat", 0, width, layer="fusion")
        block = scored_unit(3, width, width, kernel, options.norm, options.dropout)
        seen = self.layers["decoder0"].grid.field_dhw
        grid = LayerGrid(field_dhw=seen).after(kernel)
        self.add_layer("fusion", Stage(block, nn.Identity()), grid, width)
        self.head_attention = attend("head", 0, width, layer="fusion")
        self.head = blocks.conv(3, width, classes, 1)

    def _slice_parts(self) -> list[nn.Module]:
        return [self.slices, *(self.stages[name] for name in self.slices.layer_names)]

    def _freeze(self) -> None:
        """Let only those weights learn that the stage is about."""
        if self.options.stage == "hybrid":
            return
        is_first = self.options.stage == "2d"
        self.requires_grad_(not is_first)
        for part in self._slice_parts():
            part.requires_grad_(is_first)
        if is_first:
            names = self.slices.layer_names
            self.layers = {name: one for name, one in self.layers.items() if name in names}


def slice_shape(
    options: HDenseUNetOptions,
    dims: int,
    channels: int,
    strides: Sequence[Size],
    kernels: Sequence[Size],
) -> EncoderShape:
    """Return the encoder of slices, which in volumes sees their neighbours too."""
    widths, levels = options.slice_widths or options.widths, len(options.widths)
    return EncoderShape(
        dims=dims,
        in_channels=channels,
        widths=widths,
        strides=strides,
        kernels=kernels,
        depths=depths_of(options.slice_depths or options.depths, levels - 2),
        growth=options.slice_growth or options.growth or widths[0],
        stem_kernel=options.stem_kernel,
        norm=options.norm,
        has_neighbours=dims == 3,
    )


def volume_shape(
    options: HDenseUNetOptions, channels: int, strides: Sequence[Size], kernels: Sequence[Size]
) -> EncoderShape:
    """Return the encoder of volumes."""
    return EncoderShape(
        dims=3,
        in_channels=channels,
        widths=options.widths,
        strides=strides,
        kernels=kernels,
        depths=depths_of(options.depths, len(options.widths) - 2),
        growth=options.growth or options.widths[0],
        stem_kernel=options.stem_kernel,
        norm=options.norm,
    )


def branch_shape(
    options: HDenseUNetOptions,
    encoder: EncoderShape,
    config: ModelConfig,
    *,
    is_slices: bool,
    prefix: str = "",
) -> BranchShape:
    """Return one of the two networks."""
    return BranchShape(
        encoder=encoder,
        widths=(options.slice_widths if is_slices else ()) or options.widths,
        classes=config.out_channels,
        has_skips=is_slices and options.has_slice_skips,
        dropout=options.dropout,
        prefix=prefix,
    )


def build(
    config: ModelConfig, options: HDenseUNetOptions, make_attention: MakeAttention
) -> SegmentationModel:
    """Return the hybrid network in 3 dimensions, that of slices in 2."""
    kind = HDenseUNet if config.dims == 3 else DenseUNet
    return kind(config, options, make_attention)


PAPER = {
    "widths": (64, 96, 192, 224, 504, 504),
    "slice_widths": (64, 96, 96, 384, 768, 768),
    "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 2)),
    "depths": (3, 4, 12, 8),
    "slice_depths": (6, 12, 36, 24),
    "growth": 32,
    "slice_growth": 48,
    "stem_kernel": 7,
    "norm": "batch",
    "dropout": 0.3,
}
RELEASED = {**PAPER, "has_slice_skips": False, "logit_scale": 250.0}

BACKBONES.register("hdenseunet")(
    Backbone(
        title="H-DenseUNet",
        summary="Slices with their neighbours, refined in volumes; Li et al. 2018.",
        build=build,
        options=HDenseUNetOptions,
        presets={
            "paper": Preset("As published: DenseUNet-167 and DenseUNet-65", PAPER, 1, 3),
            "released": Preset("As in the authors' code, for Hounsfield units", RELEASED, 1, 3),
            "plan": Preset("Sized by the plan from your cases", {"cost": "unet"}),
            "tiny": Preset(
                "Trains on a CPU in seconds", {"widths": (8, 16, 16), "depths": (2,), "growth": 8}
            ),
        },
        dims=(3, 2),
    )
)
