"""Dice with focal loss."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.losses import IGNORE_INDEX, LOSSES


@LOSSES.register("dice-focal")
def dice_focal_loss(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Dice plus focal loss: for small structures in large volumes.

    Args:
        logits: ``(B, K, D, H, W)``.
        target: ``(B, D, H, W)``, int64.
        ignore_index: Target value of voxels that do not count.
    """
    overlap = LOSSES["dice"](logits, target, ignore_index=ignore_index)
    return overlap + LOSSES["focal"](logits, target, ignore_index=ignore_index)
