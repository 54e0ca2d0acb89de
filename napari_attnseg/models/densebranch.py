"""DenseUNet: a DenseNet whose maps rise again by sums (Li et al. 2018, arXiv 1709.07330)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.models import blocks
from napari_attnseg.models.aligned import AlignedUpsample
from napari_attnseg.models.contract import LayerGrid, MakeAttention, SegmentationModel
from napari_attnseg.models.encoders import ENCODERS, EncoderShape, Step
from napari_attnseg.models.encoders.layers import ONE, conv
from napari_attnseg.models.levels import level_name
from napari_attnseg.models.unet import Stage


@dataclass(frozen=True)
class BranchShape:
    """What DenseUNets differ in.

    Args:
        encoder: Its levels; the deepest is the bottleneck.
        widths: Channels of the decoder levels, 0 first.
        classes: That are scored.
        has_skips: Whether encoder maps are added to those that rise.
        dropout: Share of channels dropped at full resolution.
        prefix: Of the names of its layers.
    """

    encoder: EncoderShape
    widths: tuple[int, ...]
    classes: int
    has_skips: bool
    dropout: float
    prefix: str = ""


class Rise(nn.Module):
    """Brings a map to the next finer level, and adds that of the encoder where there is one.

    Args:
        up: Makes the coarser map larger.
        skip: What attends to the encoder's map, or None where nothing is added.
        match: Gives the encoder's map as many channels.
        joined: What attends to the sum.
    """

    def __init__(
        self, up: nn.Module, skip: nn.Module | None, match: nn.Module, joined: nn.Module
    ) -> None:
        super().__init__()
        self.up = up
        self.skip = skip
        self.match = match
        self.joined = joined

    def forward(self, x: Tensor, fine: Tensor | None) -> Tensor:
        if self.skip is None or fine is None:
            return self.up(x)
        return self.joined(self.up(x) + self.match(self.skip(fine, x)))


class DenseBranch(nn.Module):
    """The parts of a DenseUNet that lie between its layers, which the model holds.

    Args:
        model: That the layers are entered in.
        shape: See there.
        attend: See there.
    """

    def __init__(
        self, model: SegmentationModel, shape: BranchShape, attend: MakeAttention
    ) -> None:
        super().__init__()
        self.shape = shape
        self.rises = nn.ModuleDict()
        steps = ENCODERS["densenet"](shape.encoder)
        self.depth = steps[-1].level
        self._enter_encoder(model, steps, attend)
        self._enter_decoder(model, steps, attend)
        self.score = blocks.conv(shape.encoder.dims, shape.widths[0], shape.classes, 1)

    @property
    def layer_names(self) -> list[str]:
        """Names of its layers in the model, in the order of execution."""
        return [*map(self._name, range(1, self.depth + 1)), *map(self._rising, self._down())]

    def features(self, stages: nn.ModuleDict, x: Tensor) -> Tensor:
        """Return the last map before scores.

        Args:
            stages: Where the model holds the layers.
            x: Input, ``(B, C, D, H, W)``, or without D.
        """
        maps: dict[int, Tensor] = {}
        for level in range(1, self.depth + 1):
            x = maps[level] = stages[self._name(level)](x)
        for level in self._down():
            risen = self.rises[f"{level}"](x, maps.get(level))
            x = stages[self._rising(level)](risen)
        return x

    def _down(self) -> range:
        return range(self.depth - 1, -1, -1)

    def _name(self, level: int) -> str:
        return self.shape.prefix + level_name(level, self.depth)

    def _rising(self, level: int) -> str:
        return f"{self.shape.prefix}decoder{level}"

    def _enter_encoder(
        self, model: SegmentationModel, steps: list[Step], attend: MakeAttention
    ) -> None:
        for step in steps:
            name = self._name(step.level)
            site = "bottleneck" if step.level == self.depth else "encoder"
            attention = attend(site, step.level, step.channels, layer=name)
            model.add_layer(name, Stage(step.module, attention), step.grid, step.channels)

    def _enter_decoder(
        self, model: SegmentationModel, steps: list[Step], attend: MakeAttention
    ) -> None:
        encoder, dims = self.shape.encoder, self.shape.encoder.dims
        fine = {step.level: step for step in steps[:-1]}
        seen, channels = steps[-1].grid, steps[-1].channels
        for level in self._down():
            name, kernel = self._rising(level), encoder.kernels[level]
            step = fine.get(level)
            own = step.grid if step else LayerGrid()
            up = upsample(dims, encoder.strides[level + 1], seen, own)
            self.rises[f"{level}"] = self._rise(level, up, step, channels, attend)
            seen = LayerGrid(own.stride_dhw, own.offset_dhw, seen.field_dhw).after(kernel)
            width = self.shape.widths[level]
            dropout = 0.0 if level else self.shape.dropout
            block = scored_unit(dims, channels, width, kernel, encoder.norm, dropout)
            attention = attend("decoder", level, width, layer=name)
            model.add_layer(name, Stage(block, attention), seen, width)
            channels = width

    def _rise(
        self, level: int, up: nn.Module, fine: Step | None, channels: int, attend: MakeAttention
    ) -> Rise:
        if fine is None or not self.shape.has_skips:
            return Rise(up, None, nn.Identity(), nn.Identity())
        dims = self.shape.encoder.dims
        match: nn.Module = nn.Identity()
        if fine.channels != channels:
            match = conv(dims, fine.channels, channels, ONE, bias=True)
        skip = attend(
            "skip", level, fine.channels, layer=self._name(level), context_channels=channels
        )
        joined = attend("concat", level, channels, layer=self._rising(level))
        return Rise(up, skip, match, joined)


class SkipsOnly:
    """Puts attention on skips and nowhere else."""

    def __init__(self, attend: MakeAttention) -> None:
        self._attend = attend

    def __call__(
        self,
        site: str,
        level: int,
        channels: int,
        *,
        layer: str,
        context_channels: int | None = None,
    ) -> nn.Module:
        """Return what sits at a place; see `napari_attnseg.models.contract.MakeAttention`."""
        if site != "skip":
            return nn.Identity()
        return self._attend(site, level, channels, layer=layer, context_channels=context_channels)


class ShownAgain(nn.Module):
    """Scores of one network as images of the next.

    Args:
        scale: Brings them to the range of the images.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, scores: Tensor) -> Tensor:
        return self.scale * scores


def scored_unit(
    dims: int, channels: int, out: int, kernel: Size, norm: str, dropout: float
) -> nn.Sequential:
    """Return a convolution with dropout, normalisation and activation."""
    start = conv(dims, channels, out, kernel, bias=True)
    layers = [start, nn.Dropout(dropout), blocks.norm(dims, norm, out), nn.ReLU()]
    return nn.Sequential(*layers)


def upsample(dims: int, stride: Size, coarse: LayerGrid, fine: LayerGrid) -> nn.Module:
    """Return linear interpolation that keeps a map where it is.

    Voxels of means over windows lie in the middle of finer ones, those of padded convolutions
    and poolings of 3 on every other one.
    """
    if coarse.offset_dhw == fine.offset_dhw:
        return AlignedUpsample(dims, stride)
    return blocks.upsample(dims, stride, "linear")


def flat(sizes: list[Size]) -> list[Size]:
    """Return strides or kernels that leave slices alone."""
    return cast("list[Size]", [(1, *size[1:]) for size in sizes])
