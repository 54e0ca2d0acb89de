"""Cross-entropy."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.losses import IGNORE_INDEX, LOSSES


@LOSSES.register("ce")
def cross_entropy_loss(
    logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """How surprised the network is by each voxel's class, as the mean over voxels.

    A batch in which every voxel is ignored gives 0, where torch's own mean gives NaN.

    Args:
        logits: ``(B, K, D, H, W)``.
        target: ``(B, D, H, W)``, int64.
        ignore_index: Target value of voxels that do not count.
    """
    surprise = F.cross_entropy(logits.float(), target, ignore_index=ignore_index, reduction="sum")
    return surprise / (target != ignore_index).sum().clamp(min=1)
