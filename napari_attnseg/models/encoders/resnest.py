"""ResNeSt (Zhang et al. 2020, arXiv 2004.08955): a ResNet of split attention."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.models import blocks
from napari_attnseg.models.blocks import broadcast
from napari_attnseg.models.encoders import ENCODERS, Draft, EncoderShape, Step, in_sequence
from napari_attnseg.models.encoders.layers import (
    ONE,
    avg_pool,
    conv,
    max_pool,
    mean_pool,
    overlapping,
)
from napari_attnseg.models.grid import LayerGrid

RADIX = 2


class SplitConv(nn.Module):
    """A convolution in two ways, of which each channel takes a weighted mean.

    ``y = sum_r a_r * u_r``, ``a = softmax_r(W2 relu(BN(W1 mean(sum_r u_r))))``.

    Args:
        dims: 2 or 3.
        channels: C.
        kernel: Of the convolution.
        dilation: Of it.
        norm: See `napari_attnseg.models.blocks.norm`.
    """

    def __init__(self, dims: int, channels: int, kernel: Size, dilation: Size, norm: str) -> None:
        super().__init__()
        wide, hidden = channels * RADIX, max(channels * RADIX // 4, 32)
        groups = math.gcd(channels, RADIX)
        self.conv = conv(dims, channels, wide, kernel, dilation=dilation, groups=groups)
        self.bn0 = blocks.norm(dims, norm, wide)
        self.fc1 = conv(dims, channels, hidden, 1, bias=True)
        self.bn1 = blocks.norm(dims, norm, hidden)
        self.fc2 = conv(dims, hidden, wide, 1, bias=True)
        self.relu = nn.ReLU()
        self.weigh = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.relu(self.bn0(self.conv(x))).unflatten(1, (RADIX, -1))  # (B, R, C, d, h, w)
        mean = broadcast(parts.sum(dim=1).flatten(2).mean(dim=2), x)  # (B, C, 1, 1, 1)
        energy = self.fc2(self.relu(self.bn1(self.fc1(mean))))
        weights = self.weigh(energy.flatten(1).unflatten(1, (RADIX, -1)))  # (B, R, C)
        return (parts * broadcast(weights, parts)).sum(dim=1)


class SplitBottleneck(nn.Module):
    """Split attention between two convolutions of one voxel, with the input added around.

    Strides are those of mean pooling, on either way.
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
        self.conv1 = conv(dims, channels, inner, 1)
        self.bn1 = blocks.norm(dims, norm, inner)
        self.conv2 = SplitConv(dims, inner, kernel, dilation, norm)
        self.avd_last = nn.Identity() if stride == ONE else avg_pool(dims, stride)
        self.conv3 = conv(dims, inner, out, 1)
        self.bn3 = blocks.norm(dims, norm, out)
        self.relu = nn.ReLU()
        self.downsample = nn.Sequential()
        if channels != out or stride != ONE:
            pool = nn.Identity() if stride == ONE else mean_pool(dims, stride)
            start = conv(dims, channels, out, 1)
            self.downsample = nn.Sequential(pool, start, blocks.norm(dims, norm, out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.avd_last(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))


@ENCODERS.register("resnest")
def resnest(shape: EncoderShape) -> list[Step]:
    """Return the levels of a ResNeSt: a stem of three convolutions, and split attention."""
    draft = Draft(shape)
    _add_stem(draft)
    for index, depth in enumerate(shape.depths):
        _add_stage(draft, index, depth)
    return draft.steps()


def _add_stem(draft: Draft) -> None:
    shape, dims, norm = draft.shape, draft.shape.dims, draft.shape.norm
    stride, kernel = draft.enter(1), shape.kernels[1]
    width, half = shape.widths[1], max(1, shape.widths[1] // 2)
    stem = [
        ("0", conv(dims, shape.in_channels, half, kernel, stride=stride)),
        ("1", blocks.norm(dims, norm, half)),
        ("2", nn.ReLU()),
        ("3", conv(dims, half, half, kernel)),
        ("4", blocks.norm(dims, norm, half)),
        ("5", nn.ReLU()),
        ("6", conv(dims, half, width, kernel)),
    ]
    for step in (stride, ONE, ONE):
        draft.see(kernel, step)
    draft.add("conv1", in_sequence(stem), width)
    draft.add("bn1", blocks.norm(dims, norm, width), width)
    draft.add("relu", nn.ReLU(), width)


def _add_stage(draft: Draft, index: int, depth: int) -> None:
    shape, level = draft.shape, index + 2
    stride, out, kernel = draft.enter(level), shape.widths[level], shape.kernels[level]
    if index == 0 and stride != ONE:
        draft.see(overlapping(stride), stride)
        draft.add("maxpool", max_pool(shape.dims, stride), draft.channels)
        stride = ONE
    stage = nn.Sequential()
    for number in range(depth):
        step = ONE if number else stride
        stage.append(SplitBottleneck(shape, draft.channels, out, kernel, step, draft.dilation))
        before = draft.grid
        draft.see(kernel, ONE, draft.dilation)
        if step != ONE:
            draft.see(overlapping(step), step)
            draft.grid = _between(draft.grid, before.after(step, step, (0, 0, 0)))
        draft.channels = out
    draft.add(f"layer{index + 1}", stage, out)


def _between(way: LayerGrid, around: LayerGrid) -> LayerGrid:
    """Return where the sum of two ways lies, of which one pools between voxels, one on them."""
    middle = [(a + b) / 2 for a, b in zip(way.offset_dhw, around.offset_dhw, strict=True)]
    return replace(way, offset_dhw=(middle[0], middle[1], middle[2]))
