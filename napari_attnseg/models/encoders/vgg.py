"""VGG (Simonyan and Zisserman 2015, arXiv 1409.1556)."""

from __future__ import annotations

from torch import nn

from napari_attnseg.models import blocks
from napari_attnseg.models.encoders import Draft, EncoderShape, Step
from napari_attnseg.models.encoders.layers import conv


def vgg(shape: EncoderShape) -> list[Step]:
    """Return groups of convolutions, one a level from full resolution on.

    Pooling by the strides between them is left to the caller, which wants what is pooled.

    Args:
        shape: ``depths`` are the convolutions of each level, from 0 on.
    """
    draft, number = Draft(shape), 0
    for level, depth in enumerate(shape.depths):
        stride, kernel, width = draft.enter(level), shape.kernels[level], shape.widths[level]
        draft.grid = draft.grid.after(stride, stride, (0, 0, 0))
        for _ in range(depth):
            has_bias = shape.norm == "none"
            start = conv(shape.dims, draft.channels, width, kernel, bias=has_bias)
            layers = [start, blocks.norm(shape.dims, shape.norm, width), nn.ReLU()]
            draft.see(kernel)
            for layer in layers[:: 2 if has_bias else 1]:
                draft.add(f"features.{number}", layer, width)
                number += 1
        number += 1  # the pooling
    return draft.steps()
