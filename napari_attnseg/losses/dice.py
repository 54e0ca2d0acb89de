"""Soft Dice."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_attnseg.axes import BATCH, CHANNEL
from napari_attnseg.losses import IGNORE_INDEX, LOSSES

SMOOTH = 1e-5
"""Added above and below, so that a class that nobody draws or predicts scores 1."""


@LOSSES.register("dice")
def dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = IGNORE_INDEX,
    include_background: bool = False,
) -> Tensor:
    """Overlap of each class over the whole batch, so small and large organs count the same.

    One minus the mean over classes of ``2 |P T| / (|P| + |T|)``, with the sums over batch and
    space: a class that is absent from one patch does not make a term of its own
    (Milletari 2016, with sums instead of squares).

    Args:
        logits: ``(B, K, D, H, W)``.
        target: ``(B, D, H, W)``, int64.
        ignore_index: Target value of voxels that do not count.
        include_background: Whether channel 0 is a class like the others.
    """
    probabilities = torch.softmax(logits.float(), dim=CHANNEL)
    counted = target != ignore_index
    index = target.masked_fill(~counted, 0).unsqueeze(CHANNEL)  # (B, 1, D, H, W)
    weight = counted.unsqueeze(CHANNEL).float()
    truth = torch.zeros_like(probabilities).scatter_(CHANNEL, index, weight)
    probabilities = probabilities * weight
    if not include_background and logits.shape[CHANNEL] > 1:
        probabilities, truth = probabilities[:, 1:], truth[:, 1:]
    over = (BATCH, *range(2, logits.ndim))
    shared = (probabilities * truth).sum(over)  # (K,)
    both = (probabilities + truth).sum(over)
    return 1 - ((2 * shared + SMOOTH) / (both + SMOOTH)).mean()
