"""Common classes are thinned out at first, so that rare ones are found at all.

Where an organ fills one voxel in a hundred, a network soon learns never to name it: cross-entropy
gains by that at once, and Dice has no slope left where the probability is nothing. So early steps
learn from a part of the voxels only, in which classes differ less in number. Later all of them
count, so that the probabilities come out right. That works with any loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_attnseg.losses import IGNORE_INDEX

THINNED_UNTIL = 0.4
"""Progress up to which classes are balanced most."""

WHOLE_FROM = 0.7
"""Progress from which every voxel counts."""

EVENNESS = 0.5
"""0 leaves classes as frequent as they are, 1 makes all as rare as the rarest."""

LEAST_KEPT = 0.05
"""Part of a class that is always kept."""


def thinned(target: Tensor, progress: float, *, seed: int) -> Tensor:
    """Return a target in which voxels of common classes are ignored by chance.

    Of a class n times as frequent as the rarest one in the batch, ``n ** -EVENNESS`` is kept.

    Args:
        target: Channel indices ``(B, D, H, W)``, int64, on the CPU.
        progress: Of the training, 0 to 1.
        seed: Of the choice.
    """
    fading = (progress - THINNED_UNTIL) / (WHOLE_FROM - THINNED_UNTIL)
    evenness = EVENNESS * (1 - min(1.0, max(0.0, fading)))
    if evenness == 0:
        return target
    counts = torch.bincount(target.reshape(-1), minlength=IGNORE_INDEX + 1)
    counts[IGNORE_INDEX] = 0
    present = counts[counts > 0]
    if len(present) < 2:
        return target
    kept = (present.min() / counts.clamp(min=1)).clamp(max=1) ** evenness
    kept.clamp_(min=LEAST_KEPT)
    kept[IGNORE_INDEX] = 1
    chance = torch.rand(target.shape, generator=torch.Generator().manual_seed(seed))
    return target.masked_fill(chance > kept[target], IGNORE_INDEX)
