"""Focal loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.losses import IGNORE_INDEX, LOSSES


@LOSSES.register("focal")
def focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = IGNORE_INDEX,
    gamma: float = 2.0,
) -> Tensor:
    """Cross-entropy that counts voxels less the better they are already classified.

    The mean over voxels of ``-(1 - p)^gamma log p``, where p is the probability of the voxel's
    own class (Lin 2017, equation 4, for each voxel rather than on a batch's mean).

    Args:
        logits: ``(B, K, D, H, W)``.
        target: ``(B, D, H, W)``, int64.
        ignore_index: Target value of voxels that do not count.
        gamma: 0 gives the cross-entropy; otherwise at least 1, for the gradient to be finite.
    """
    surprise = F.cross_entropy(logits.float(), target, ignore_index=ignore_index, reduction="none")
    # expm1 keeps 1 - p exact where p is nearly 1, which is where most voxels are.
    doubt = -torch.expm1(-surprise)
    return (doubt**gamma * surprise).sum() / (target != ignore_index).sum().clamp(min=1)
