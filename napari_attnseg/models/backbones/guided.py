"""Multi-scale guided attention network (Sinha and Dolz 2020, arXiv 1906.02849)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.config import Config, ModelConfig, setting
from napari_attnseg.models.affinities import ENERGIES, MAX_TOKENS
from napari_attnseg.models.aligned import AlignedUpsample
from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.contract import (
    Auxiliary,
    Criterion,
    Layer,
    LayerGrid,
    MakeAttention,
    ModelOutput,
    SegmentationModel,
)
from napari_attnseg.models.encoders import ENCODERS, EncoderShape, depths_of
from napari_attnseg.models.encoders.layers import ONE, conv
from napari_attnseg.models.levels import kernels_of, level_name, product, strides_of
from napari_attnseg.models.refinement import Look, Refined, Refinement, distance, unit
from napari_attnseg.models.sizing import cost_setting, sized
from napari_attnseg.models.unet import Stage

FORMS = ("baseline", "dual", "multi-scale", "guided")
"""Each adds to the one before: nothing, dual attention, maps of all scales, guided refinement."""


@dataclass(frozen=True)
class GuidedOptions(Config):
    """What guided networks differ in. Levels count from 0, where nothing is computed."""

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
    block: str = setting("basic", help="Residual blocks", choices=("basic", "bottleneck"))
    groups: int = setting(1, help="Groups of a bottleneck's convolution", minimum=1)
    inner: float = setting(0.25, help="Channels inside a bottleneck over those outside")
    stem_kernel: int = setting(3, help="Kernel of the first convolution", minimum=1)
    norm: str = setting("instance", help="Normalisation", choices=("batch", "instance", "group"))
    base_level: int = setting(1, help="Finest level that is looked at", minimum=1)
    width: int = setting(
        0, help="Channels of each scale; 0 means those of the finest level", minimum=0
    )
    form: str = setting("guided", help="How much of the network there is", choices=FORMS)
    steps: int = setting(2, help="Refinement steps of the guided form", minimum=2)
    side_weight: float = setting(1.0, help="Of the loss of each scale's logits", minimum=0.0)
    guided_weight: float = setting(
        0.25, help="Of the distance between the codes of two steps", minimum=0.0
    )
    reconstruction_weight: float = setting(
        0.1, help="Of the distance between maps and what is made of their codes", minimum=0.0
    )
    channel_energy: str = setting(
        "inverted", help="Whether unlike or like channels attend to each other", choices=ENERGIES
    )
    max_tokens: int = setting(MAX_TOKENS, help="Most voxels that a voxel attends to", minimum=1)
    cost: str = cost_setting()


class Gathered(nn.Module):
    """Joins the maps of all scales, and attends to them where attention sits."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.attention(torch.cat(maps, dim=CHANNEL))


class GuidedNetwork(SegmentationModel):
    """Scores every scale of an encoder, and refines them by attention that codes guide.

    The loss is that of the logits of each scale before and after refinement, ``0.25 * sum_s
    MSE(v_s, v'_s)`` between the codes of one step and the next, and ``0.1 * sum_s (MSE(Z_s, R_s)
    + MSE(Z'_s, R'_s))`` between maps and their reconstructions. The logits are the mean of the
    refined ones.
    """

    def __init__(
        self, config: ModelConfig, options: GuidedOptions, make_attention: MakeAttention
    ) -> None:
        levels = len(options.widths)
        strides = strides_of(options.strides, levels, config.dims)
        super().__init__(config, size_multiple=product(strides))
        self.options = sized(GuidedNetwork, config, options)
        self.kernels = kernels_of(options.kernels, levels, config.dims)
        self.depth = levels - 1
        self.base = min(options.base_level, self.depth)
        self.scales = range(self.base, levels)
        self.width = self.options.width or self.options.widths[self.base]
        self._build_encoder(strides, make_attention)
        self._build_scales(strides, make_attention)
        self.refinements = nn.ModuleList(self._refinements(strides))
        self._build_heads(strides, make_attention)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        maps = self._maps(x)
        joined = self.concat_attention(torch.cat(maps, dim=CHANNEL))
        maps = list(joined.split(self.width, dim=CHANNEL))
        steps = self._refine(maps, joined)
        found = self.stages[f"decoder{self.base}"](steps[-1].maps if steps else maps)
        found = self.head_attention(found).split(self.width, dim=CHANNEL)
        refined = [head(one) for head, one in zip(self.heads, found, strict=True)]
        logits = self.to_input(torch.stack(refined).mean(dim=0))
        return logits, self._auxiliary(maps, refined, steps) if self.training else {}

    def network_loss(self, output: ModelOutput, target: Tensor, criterion: Criterion) -> Tensor:
        """Return the sum of the losses of all scales and of those that guide them."""
        options, found = self.options, output.auxiliary
        maps = [*found["refined"], *found.get("side", [])]
        losses = torch.stack([criterion(one, target) for one in maps])
        parts = {"segmentation": options.side_weight * losses.sum()}
        if "guided" in found:
            guided, rebuilt = cast("Tensor", found["guided"]), cast("Tensor", found["rebuilt"])
            parts["guided"] = options.guided_weight * guided
            parts["reconstruction"] = options.reconstruction_weight * rebuilt
        output.parts = {name: part.detach() for name, part in parts.items()}
        return torch.stack(list(parts.values())).sum()

    def _maps(self, x: Tensor) -> list[Tensor]:
        """Return the maps of all scales with one width at the finest, fine to coarse."""
        features: dict[int, Tensor] = {}
        for level in range(1, self.depth + 1):
            x = self.stages[level_name(level, self.depth)](x)
            if level in self.scales:
                features[level] = self.reduce[f"{level}"](x)
        for level in reversed(self.scales[:-1]):
            features[level] = self.skips[f"{level}"](features[level], features[level + 1])
        return [self.ups[f"{level}"](features[level]) for level in self.scales]

    def _refine(self, maps: list[Tensor], joined: Tensor) -> list[Refined]:
        if not self.refinements:
            return []
        whole = self.multi_scale(joined) if self.multi_scale else None
        seen = [whole] * len(maps)
        steps: list[Refined] = []
        for refinement in self.refinements:
            steps.append(refinement(maps, seen))
            if whole is not None:
                seen = [one * whole for one in steps[-1].maps]
        return steps

    def _auxiliary(
        self, maps: list[Tensor], refined: list[Tensor], steps: list[Refined]
    ) -> Auxiliary:
        found: Auxiliary = {"refined": [self.to_input(one) for one in refined]}
        if steps:
            sides = [side(one) for side, one in zip(self.sides, maps, strict=True)]
            found["side"] = [self.to_input(one) for one in sides]
        if self.options.form == "guided":
            codes = [step.codes for step in steps]
            guided = [distance(one, after) for one, after in pairwise(codes)]
            rebuilt = [distance(step.joined, step.rebuilt) for step in steps]
            found["guided"] = torch.stack(guided).sum()
            found["rebuilt"] = torch.stack(rebuilt).sum()
        return found

    def _build_encoder(self, strides: list[Size], attend: MakeAttention) -> None:
        options = self.options
        shape = EncoderShape(
            dims=self.dims,
            in_channels=self.config.in_channels,
            widths=options.widths,
            strides=strides,
            kernels=self.kernels,
            depths=depths_of(options.depths, self.depth - 1),
            stem_kernel=options.stem_kernel,
            norm=options.norm,
            block=options.block,
            groups=options.groups,
            inner=options.inner,
        )
        for step in ENCODERS["resnet"](shape):
            name = level_name(step.level, self.depth)
            site = "bottleneck" if step.level == self.depth else "encoder"
            attention = attend(site, step.level, step.channels, layer=name)
            self.add_layer(name, Stage(step.module, attention), step.grid, step.channels)

    def _build_scales(self, strides: list[Size], attend: MakeAttention) -> None:
        dims, norm, width = self.dims, self.options.norm, self.width
        self.reduce, self.ups, self.skips = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for level in self.scales:
            facts = self._facts(level_name(level, self.depth))
            self.reduce[f"{level}"] = unit(dims, facts.channels, width, ONE, norm)
            between = product([ONE, *strides[self.base + 1 : level + 1]])
            self.ups[f"{level}"] = AlignedUpsample(dims, between)
            if level < self.depth:
                name = f"encoder{level}"
                self.skips[f"{level}"] = attend(
                    "skip", level, width, layer=name, context_channels=width
                )
        whole, name = width * len(self.scales), f"decoder{self.base}"
        self.concat_attention = attend("concat", self.base, whole, layer=name)
        kernel = self.kernels[self.base]
        self.multi_scale: nn.Module | None = None
        if self.options.form in ("multi-scale", "guided"):
            self.multi_scale = nn.Sequential(
                unit(dims, whole, width, kernel, norm),
                unit(dims, width, width, kernel, norm),
                unit(dims, width, width, ONE, norm),
            )

    def _refinements(self, strides: list[Size]) -> list[nn.Module]:
        form, options = self.options.form, self.options
        if form == "baseline":
            return []
        pools = [*strides[self.base + 1 : self.base + 3], ONE, ONE][:2]
        look = Look(
            dims=self.dims,
            width=self.width,
            has_whole=form != "dual",
            has_codes=form == "guided",
            kernel=self.kernels[self.base],
            pools=(pools[0], pools[1]),
            norm=options.norm,
            channel_energy=options.channel_energy,
            max_tokens=options.max_tokens,
        )
        count = options.steps if form == "guided" else 1
        return [Refinement(look, len(self.scales)) for _ in range(count)]

    def _build_heads(self, strides: list[Size], attend: MakeAttention) -> None:
        classes, scales, name = self.config.out_channels, len(self.scales), f"decoder{self.base}"
        whole = self.width * scales
        own: Layer = self._facts(level_name(self.base, self.depth))
        seen = self.layers["bottleneck"].grid.field_dhw
        grid = LayerGrid(own.grid.stride_dhw, own.grid.offset_dhw, seen)
        attention = attend("decoder", self.base, whole, layer=name)
        self.add_layer(name, Gathered(attention), grid, whole)
        self.head_attention = attend("head", self.base, whole, layer=name)
        self.heads = self._scores(classes)
        self.sides = self._scores(classes if self.refinements else 0)
        self.to_input = AlignedUpsample(self.dims, product(strides[: self.base + 1]))

    def _scores(self, classes: int) -> nn.ModuleList:
        if not classes:
            return nn.ModuleList()
        made = (conv(self.dims, self.width, classes, ONE, bias=True) for _ in self.scales)
        return nn.ModuleList(made)


RESNEXT101 = {
    "widths": (64, 64, 256, 512, 1024, 2048),
    "depths": (3, 4, 23, 3),
    "block": "bottleneck",
    "groups": 32,
    "inner": 1.0,
    "stem_kernel": 7,
    "norm": "batch",
    "base_level": 2,
    "width": 64,
}

BACKBONES.register("guided")(
    Backbone(
        title="Guided attention network",
        summary="Dual attention at several scales, refined under guidance; Sinha and Dolz 2020.",
        build=GuidedNetwork,
        options=GuidedOptions,
        presets={
            "paper": Preset("As published: ResNeXt-101", RESNEXT101, 1, 5),
            "plan": Preset("Sized by the plan from your cases", {"cost": "unet"}),
            "tiny": Preset(
                "Trains on a CPU in seconds", {"widths": (4, 8, 8), "depths": (1,), "width": 4}
            ),
        },
        dims=(2, 3),
    )
)
