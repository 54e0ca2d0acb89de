"""Modified aligned Xception (Chen et al. 2018, arXiv 1802.02611; Chollet 2017, 1610.02357)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.models import blocks
from napari_attnseg.models.encoders import ENCODERS, Draft, EncoderShape, Step
from napari_attnseg.models.encoders.layers import ONE, conv

PUBLISHED_EPS = 1e-3
"""Added to variances, with which the published weights were learned."""


class SeparableConv(nn.Module):
    """A convolution of each channel alone, then one of one voxel, each normalised.

    Args:
        shape: Of the encoder.
        channels: That come in.
        out: That it gives.
        kernel: Of the first convolution.
        stride: Of the first convolution.
        dilation: Of the first convolution.
        is_active: Whether an activation follows each.
    """

    def __init__(
        self,
        shape: EncoderShape,
        channels: int,
        out: int,
        kernel: Size,
        stride: Size,
        dilation: Size,
        *,
        is_active: bool,
    ) -> None:
        super().__init__()
        dims = shape.dims
        self.conv_dw = conv(
            dims, channels, channels, kernel, stride=stride, dilation=dilation, groups=channels
        )
        self.bn_dw = norm_of(shape, channels)
        self.act_dw = nn.ReLU() if is_active else nn.Identity()
        self.conv_pw = conv(dims, channels, out, 1)
        self.bn_pw = norm_of(shape, out)
        self.act_pw = nn.ReLU() if is_active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act_dw(self.bn_dw(self.conv_dw(x)))
        return self.act_pw(self.bn_pw(self.conv_pw(x)))


class SeparableBlock(nn.Module):
    """Three separable convolutions, the last with the stride, with the input added around.

    Args:
        shape: Of the encoder.
        channels: That come in.
        widths: Of the convolutions.
        kernel: Of each.
        stride: Of the block.
        dilation: Of each convolution.
        is_exit: Whether activations follow convolutions, and nothing is added.
    """

    def __init__(
        self,
        shape: EncoderShape,
        channels: int,
        widths: Sequence[int],
        kernel: Size,
        stride: Size,
        dilation: Size,
        *,
        is_exit: bool = False,
    ) -> None:
        super().__init__()
        out = widths[-1]
        self.is_exit = is_exit
        self.shortcut = nn.Sequential()
        if not is_exit and (channels != out or stride != ONE):
            start = conv(shape.dims, channels, out, 1, stride=stride)
            norm = norm_of(shape, out)
            self.shortcut = nn.Sequential(OrderedDict([("conv", start), ("bn", norm)]))
        self.stack = nn.Sequential()
        for number, width in enumerate(widths, start=1):
            step = stride if number == len(widths) else ONE
            if not is_exit:
                self.stack.add_module(f"act{number}", nn.ReLU())
            one = SeparableConv(shape, channels, width, kernel, step, dilation, is_active=is_exit)
            self.stack.add_module(f"conv{number}", one)
            channels = width

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x) if self.is_exit else self.stack(x) + self.shortcut(x)


def norm_of(shape: EncoderShape, channels: int) -> nn.Module:
    """Return a normalisation, with the constant of the published network where it is batch's."""
    made: Any = blocks.norm(shape.dims, shape.norm, channels)
    if shape.norm == "batch":
        made.eps = PUBLISHED_EPS
    return made


@ENCODERS.register("xception")
def xception(shape: EncoderShape) -> list[Step]:
    """Return the levels of an Xception: a stem, residual blocks of separable convolutions, exit.

    Activations come first in a block, last in the exit.
    """
    draft = Draft(shape)
    _add_stem(draft)
    number = 0
    for index, depth in enumerate(shape.depths):
        stride, width = draft.enter(index + 2), shape.widths[index + 2]
        for block in range(depth):
            step = ONE if block else stride
            _add_block(draft, number, [width] * 3, step, draft.dilation)
            number += 1
    if shape.exit_widths:
        _add_exit(draft, number)
    return draft.steps()


def _add_stem(draft: Draft) -> None:
    shape = draft.shape
    stride, kernel, channels = draft.enter(1), shape.kernels[1], shape.in_channels
    for index, width in enumerate((max(1, shape.widths[1] // 2), shape.widths[1])):
        step = ONE if index else stride
        start = conv(shape.dims, channels, width, kernel, stride=step)
        draft.see(kernel, step)
        draft.add(f"stem.{index}.conv", start, width)
        draft.add(f"stem.{index}.bn", norm_of(shape, width), width)
        draft.add(f"stem.{index}.act", nn.ReLU(), width)
        channels = width


def _add_block(
    draft: Draft, number: int, widths: Sequence[int], stride: Size, dilation: Size
) -> None:
    shape = draft.shape
    kernel = shape.kernels[draft.level]
    block = SeparableBlock(shape, draft.channels, widths, kernel, stride, dilation)
    for index in range(len(widths)):
        draft.see(kernel, stride if index == len(widths) - 1 else ONE, dilation)
    draft.add(f"blocks.{number}", block, widths[-1])


def _add_exit(draft: Draft, number: int) -> None:
    """Add the exit flow, whose last kernels widen where its stride is left out."""
    shape, before = draft.shape, draft.dilation
    stride = draft.enter(len(shape.depths) + 2)
    kernel = shape.kernels[draft.level]
    wide, wider, widest = shape.exit_widths
    _add_block(draft, number, [draft.channels, wide, wide], stride, before)
    widths = [wider, wider, widest]
    block = SeparableBlock(shape, wide, widths, kernel, ONE, draft.dilation, is_exit=True)
    for _ in widths:
        draft.see(kernel, ONE, draft.dilation)
    draft.add(f"blocks.{number + 1}", block, widest)
