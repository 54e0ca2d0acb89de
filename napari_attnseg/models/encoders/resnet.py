"""ResNet (He et al. 2016, arXiv 1512.03385) and ResNeXt (Xie et al. 2017, arXiv 1611.05431)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.models import blocks
from napari_attnseg.models.encoders import ENCODERS, Draft, EncoderShape, Step
from napari_attnseg.models.encoders.layers import (
    ONE,
    Shortcut,
    conv,
    max_pool,
    overlapping,
    times,
)


class BasicBlock(nn.Module):
    """Two convolutions, around which the input is added."""

    def __init__(
        self,
        shape: EncoderShape,
        channels: int,
        out: int,
        kernel: Size,
        stride: Size,
        dilation: Size,
    ) -> None:
        super().__init__()
        dims, norm = shape.dims, shape.norm
        self.conv1 = conv(dims, channels, out, kernel, stride=stride, dilation=dilation)
        self.bn1 = blocks.norm(dims, norm, out)
        self.conv2 = conv(dims, out, out, kernel, dilation=dilation)
        self.bn2 = blocks.norm(dims, norm, out)
        self.relu = nn.ReLU()
        self.downsample = Shortcut(dims, channels, out, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """A convolution between two of one voxel, around which the input is added.

    The stride is that of the middle convolution, as in torchvision.
    """

    def __init__(
        self,
        shape: EncoderShape,
        channels: int,
        out: int,
        kernel: Size,
        stride: Size,
        dilation: Size,
    ) -> None:
        super().__init__()
        dims, norm = shape.dims, shape.norm
        inner = max(1, int(out * shape.inner))
        wiring: dict[str, Any] = {"stride": stride, "dilation": dilation}
        self.conv1 = conv(dims, channels, inner, 1)
        self.bn1 = blocks.norm(dims, norm, inner)
        groups = math.gcd(inner, shape.groups)
        self.conv2 = conv(dims, inner, inner, kernel, groups=groups, **wiring)
        self.bn2 = blocks.norm(dims, norm, inner)
        self.conv3 = conv(dims, inner, out, 1)
        self.bn3 = blocks.norm(dims, norm, out)
        self.relu = nn.ReLU()
        self.downsample = Shortcut(dims, channels, out, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))


@ENCODERS.register("resnet")
def resnet(shape: EncoderShape) -> list[Step]:
    """Return the levels of a ResNet: a stem, and residual blocks after pooling and strides."""
    draft = Draft(shape)
    _add_stem(draft)
    for index, depth in enumerate(shape.depths):
        _add_stage(draft, index, depth)
    return draft.steps()


def _add_stem(draft: Draft) -> None:
    shape = draft.shape
    stride = draft.enter(1)
    kernel: Any = tuple(shape.stem_kernel if k > 1 else 1 for k in shape.kernels[1])
    draft.see(kernel, stride)
    width = shape.widths[1]
    draft.add("conv1", conv(shape.dims, shape.in_channels, width, kernel, stride=stride), width)
    draft.add("bn1", blocks.norm(shape.dims, shape.norm, width), width)
    draft.add("relu", nn.ReLU(), width)


def _add_stage(draft: Draft, index: int, depth: int) -> None:
    shape, level = draft.shape, index + 2
    stride, out, kernel = draft.enter(level), shape.widths[level], shape.kernels[level]
    if index == 0 and stride != ONE:
        draft.see(overlapping(stride), stride)
        draft.add("maxpool", max_pool(shape.dims, stride), draft.channels)
        stride = ONE
    block = Bottleneck if shape.block == "bottleneck" else BasicBlock
    stage = nn.Sequential()
    for number, dilation in enumerate(_dilations(draft, index, depth)):
        step = ONE if number else stride
        stage.append(block(shape, draft.channels, out, kernel, step, dilation))
        draft.see(kernel, step, dilation)
        if block is BasicBlock:
            draft.see(kernel, ONE, dilation)
        draft.channels = out
    draft.add(f"layer{index + 1}", stage, out)


def _dilations(draft: Draft, index: int, depth: int) -> list[Size]:
    factors = draft.shape.multi_grid
    is_last = index == len(draft.shape.depths) - 1
    if not (factors and is_last and draft.dilation != ONE):
        return [draft.dilation] * depth
    chosen = [factors[min(number, len(factors) - 1)] for number in range(depth)]
    return [
        times(draft.dilation, (factor, factor, factor)) if draft.dilation != ONE else ONE
        for factor in chosen
    ]
