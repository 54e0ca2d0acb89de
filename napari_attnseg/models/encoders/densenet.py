"""DenseNet (Huang et al. 2017, arXiv 1608.06993)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.models import blocks
from napari_attnseg.models.encoders import ENCODERS, Draft, EncoderShape, Step
from napari_attnseg.models.encoders.layers import conv, max_pool, mean_pool, overlapping


class DenseLayer(nn.Module):
    """Adds channels that are computed from all those that come in."""

    def __init__(self, shape: EncoderShape, channels: int, kernel: Size) -> None:
        super().__init__()
        dims, norm, inner = shape.dims, shape.norm, 4 * shape.growth
        self.norm1 = blocks.norm(dims, norm, channels)
        self.conv1 = conv(dims, channels, inner, 1)
        self.norm2 = blocks.norm(dims, norm, inner)
        self.conv2 = conv(dims, inner, shape.growth, kernel)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu(self.norm2(y)))], dim=CHANNEL)


class NeighbourConv(nn.Conv3d):
    """A convolution of slices that also sees those on either side, the outermost repeated."""

    def forward(self, x: Tensor) -> Tensor:
        # As three images that lie beside each other, which 2-D networks take for colours.
        first, last = x[:, :, :1], x[:, :, -1:]
        return super().forward(torch.cat([first, x, last], dim=2))


@ENCODERS.register("densenet")
def densenet(shape: EncoderShape) -> list[Step]:
    """Return the levels of a DenseNet: a stem, pooling, and dense blocks between transitions."""
    draft = Draft(shape)
    _add_stem(draft)
    for index, depth in enumerate(shape.depths):
        _add_block(draft, index, depth)
    out = draft.channels
    draft.add("features.norm5", blocks.norm(shape.dims, shape.norm, out), out)
    draft.add("features.relu5", nn.ReLU(), out)
    return draft.steps()


def _add_stem(draft: Draft) -> None:
    shape = draft.shape
    stride, width = draft.enter(1), shape.widths[1]
    kernel: Any = tuple(shape.stem_kernel if k > 1 else 1 for k in shape.kernels[1])
    draft.see(kernel, stride)
    stem = conv(shape.dims, shape.in_channels, width, kernel, stride=stride)
    if shape.has_neighbours:
        _, high, wide = kernel
        padding = (0, high // 2, wide // 2)
        size = (3, high, wide)
        stem = NeighbourConv(shape.in_channels, width, size, stride, padding, bias=False)
        nn.init.kaiming_normal_(stem.weight, nonlinearity="relu")
        draft.see((3, 1, 1))
    draft.add("features.conv0", stem, width)
    draft.add("features.norm0", blocks.norm(shape.dims, shape.norm, width), width)
    draft.add("features.relu0", nn.ReLU(), width)


def _add_block(draft: Draft, index: int, depth: int) -> None:
    shape, level = draft.shape, index + 2
    stride, kernel = draft.enter(level), shape.kernels[level]
    if index == 0:
        draft.see(overlapping(stride), stride)
        draft.add("features.pool0", max_pool(shape.dims, stride), draft.channels)
    else:
        _add_transition(draft, index, stride)
    block = nn.Sequential()
    channels = draft.channels
    for number in range(1, depth + 1):
        block.add_module(f"denselayer{number}", DenseLayer(shape, channels, kernel))
        draft.see(kernel)
        channels += shape.growth
    draft.add(f"features.denseblock{index + 1}", block, channels)


def _add_transition(draft: Draft, index: int, stride: Size) -> None:
    shape, channels, name = draft.shape, draft.channels, f"features.transition{index}"
    half = max(1, channels // 2)
    draft.add(f"{name}.norm", blocks.norm(shape.dims, shape.norm, channels), channels)
    draft.add(f"{name}.relu", nn.ReLU(), channels)
    draft.add(f"{name}.conv", conv(shape.dims, channels, half, 1), half)
    draft.add(f"{name}.pool", mean_pool(shape.dims, stride), half)
    draft.grid = draft.grid.after(stride, stride, (0, 0, 0))
