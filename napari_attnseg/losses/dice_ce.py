"""Dice with cross-entropy."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.losses import IGNORE_INDEX, LOSSES


@LOSSES.register("dice-ce")
def dice_ce_loss(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Dice plus cross-entropy: overlap decides, every voxel has a say. The safe choice.

    Args:
        logits: ``(B, K, D, H, W)``.
        target: ``(B, D, H, W)``, int64.
        ignore_index: Target value of voxels that do not count.
    """
    overlap = LOSSES["dice"](logits, target, ignore_index=ignore_index)
    return overlap + LOSSES["ce"](logits, target, ignore_index=ignore_index)
