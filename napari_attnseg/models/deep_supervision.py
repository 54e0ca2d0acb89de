"""Scores of coarser decoder levels, which learn too (Lee et al. 2015, arXiv 1409.5185)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.models import blocks
from napari_attnseg.models.contract import Criterion
from napari_attnseg.models.levels import product

NAME = "deep_supervision"
"""Of the coarser scores, finest first, among a network's auxiliary tensors."""


def side_heads(
    dims: int, widths: Sequence[int], classes: int, strides: Sequence[Size], kernel: int = 1
) -> nn.ModuleDict:
    """Return a head for each level but the finest: a convolution, and linear interpolation.

    Args:
        dims: 2 or 3.
        widths: Channels of the decoder levels, from level 0.
        classes: Classes with the background.
        strides: Step into each of these levels.
        kernel: Of the convolution.
    """
    heads = nn.ModuleDict()
    for level in range(1, len(widths)):
        score = blocks.conv(dims, widths[level], classes, kernel)
        rise = blocks.upsample(dims, product(strides[: level + 1]), "linear")
        heads[f"{level}"] = nn.Sequential(score, rise)
    return heads


def mean_loss(maps: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor:
    """Return the mean loss of scores at the input's size, each weighing half the one before."""
    weights = [0.5**level for level in range(len(maps))]
    losses = [w * criterion(one, target) for w, one in zip(weights, maps, strict=True)]
    return torch.stack(losses).sum() / sum(weights)
