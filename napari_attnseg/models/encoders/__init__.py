"""Encoders of published classifiers, in 2 or 3 dimensions, cut into levels.

Layers are named as in the files in which their ImageNet weights are given away (torchvision's for
ResNet, ResNeXt, VGG and DenseNet, timm's for ResNeSt and Xception), so that those can be loaded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from napari_attnseg.axes import Size
from napari_attnseg.models.contract import ModelError
from napari_attnseg.models.encoders.layers import ONE, times, widened
from napari_attnseg.models.grid import LayerGrid
from napari_attnseg.registry import Registry


@dataclass(frozen=True)
class EncoderShape:
    """What encoders differ in. Level 0 is full resolution; the stem leads to level 1.

    Args:
        dims: 2 or 3.
        in_channels: Of the image.
        widths: Channels of each level; the first has none of its own.
        strides: Step into each level along D, H and W.
        kernels: Kernel of each level along D, H and W.
        depths: Blocks of each level from 2 on.
        stem_kernel: Kernel of the stem along the axes that its level's kernel sees.
        norm: See `napari_attnseg.models.blocks.norm`.
        block: ``"basic"`` or ``"bottleneck"``, of a ResNet.
        groups: Groups of the middle convolution of a bottleneck.
        inner: Channels of a bottleneck's middle over those that it gives.
        last_level: Deepest level; further steps widen kernels instead (dilated convolution).
        multi_grid: Factors of the dilation in the blocks of the deepest level, where there is one.
        growth: Channels that a layer of a DenseNet adds.
        exit_widths: Widths of the exit flow of an Xception; none means that there is none.
        has_neighbours: Whether the stem of a DenseNet also sees the slices on either side.
    """

    dims: int
    in_channels: int
    widths: tuple[int, ...]
    strides: Sequence[Size]
    kernels: Sequence[Size]
    depths: tuple[int, ...]
    stem_kernel: int = 3
    norm: str = "batch"
    block: str = "basic"
    groups: int = 1
    inner: float = 0.25
    last_level: int = 99
    multi_grid: tuple[int, ...] = ()
    growth: int = 32
    exit_widths: tuple[int, ...] = ()
    has_neighbours: bool = False


def depths_of(depths: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return the blocks of so many levels, 2 each where none are given.

    Raises:
        ModelError: If there are not as many.
    """
    found = depths or (2,) * count
    if len(found) != count or min(found, default=1) < 1:
        raise ModelError(
            f"depths is {found}; give {count} positive numbers, one for each level from the "
            "third on."
        )
    return found


@dataclass(frozen=True)
class Step:
    """All of an encoder that lies on one level.

    Args:
        level: Which.
        module: From the output of the level above.
        grid: Of its output.
        channels: Of its output.
    """

    level: int
    module: nn.Module
    grid: LayerGrid
    channels: int


class Draft:
    """An encoder in the making: what has been added, and where the next layer will lie.

    Args:
        shape: Of the encoder.
        grid: Of its input.
    """

    def __init__(self, shape: EncoderShape, grid: LayerGrid | None = None) -> None:
        self.shape = shape
        self.grid = grid or LayerGrid()
        self.channels = shape.in_channels
        self.dilation: Size = ONE
        self.level = 0
        self._named: dict[int, list[tuple[str, nn.Module]]] = {}
        self._reached: dict[int, tuple[LayerGrid, int]] = {}

    def enter(self, level: int) -> Size:
        """Return the stride into a level, which is none beyond the last: kernels widen then."""
        stride = self.shape.strides[level]
        self.level = min(level, self.shape.last_level)
        if level <= self.shape.last_level:
            return stride
        self.dilation = times(self.dilation, stride)
        return ONE

    def see(self, kernel: Size, stride: Size = ONE, dilation: Size = ONE) -> None:
        """Note that a convolution or a pooling with padding takes the map on."""
        self.grid = self.grid.after(widened(kernel, dilation), stride)

    def add(self, name: str, module: nn.Module, channels: int) -> None:
        """Add a layer to the level that was entered.

        Args:
            name: In published files; dots lead into a part.
            module: The layer.
            channels: That it gives.
        """
        self.channels = channels
        self._named.setdefault(self.level, []).append((name, module))
        self._reached[self.level] = (self.grid, channels)

    def steps(self) -> list[Step]:
        """Return the levels, from fine to coarse."""
        return [
            Step(level, published(named), *self._reached[level])
            for level, named in self._named.items()
        ]


class Published(nn.Sequential):
    """Layers whose names are those in published files; see `napari_attnseg.models.pretrained`."""


def published(named: Sequence[tuple[str, nn.Module]]) -> Published:
    """Return layers one after the other that published weights can be loaded into."""
    return Published(OrderedDict(in_sequence(named).named_children()))


def in_sequence(named: Sequence[tuple[str, nn.Module]]) -> nn.Sequential:
    """Return modules one after the other; names with dots lead into parts."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for first, group in groupby(named, key=lambda item: item[0].partition(".")[0]):
        inside = [(name.partition(".")[2], module) for name, module in group]
        alone = len(inside) == 1 and not inside[0][0]
        parts[first] = inside[0][1] if alone else in_sequence(inside)
    return nn.Sequential(parts)


BuildEncoder = Callable[[EncoderShape], list[Step]]

ENCODERS: Registry[BuildEncoder] = Registry("encoder", "napari_attnseg.models.encoders")
