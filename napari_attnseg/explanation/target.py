"""What is explained: a number made of the logits in a region that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_attnseg.explanation.contract import ExplainError


@dataclass(frozen=True, eq=False)
class Target:
    """The mean over a region of a weighted sum of logits.

    Args:
        region: Boolean, ``(D, H, W)`` on the network's grid, fixed before explaining.
        coefficients: By network channel; ``{2: 1.0, 1: -1.0}`` asks why 2 rather than 1.
        kind: What the region is, in a word; goes into the record.
    """

    region: Tensor
    coefficients: dict[int, float]
    kind: str = "class"

    @property
    def voxels(self) -> int:
        """Return how many voxels the region has."""
        return int(self.region.sum())

    def to_dict(self) -> dict[str, object]:
        """Return what the record of a map says about its target."""
        return {"kind": self.kind, "voxels": self.voxels, "reduction": "mean"}

    def score(self, logits: Tensor, weights: Tensor) -> Tensor:
        """Return the part of the score that a window contributes.

        Args:
            logits: ``(1, K, d, h, w)`` of the window.
            weights: ``(d, h, w)``: at each voxel what the window counts for, 0 outside the region,
                already divided by the number of voxels of the whole region.
        """
        terms = [c * (logits[0, index] * weights).sum() for index, c in self.coefficients.items()]
        return torch.stack(terms).sum()


def masked_mean(logits: Tensor, mask: Tensor, classes: list[int], reduction: str) -> Tensor:
    """Return the sum over a batch of one class's logits in a mask.

    Args:
        logits: ``(B, K, *sizes)``.
        mask: Boolean, ``sizes``, with or without a batch and a channel axis.
        classes: One index per sample.
        reduction: ``"mean"`` over the voxels of each sample's mask, or ``"sum"``.

    Raises:
        ExplainError: If the mask has another size, or is empty.
    """
    sizes = logits.shape[2:]
    if tuple(mask.shape[-len(sizes) :]) != tuple(sizes):
        raise ExplainError(
            f"The mask has the sizes {tuple(mask.shape)}, but the logits have {tuple(sizes)}; "
            "give a mask of the input's size."
        )
    flat = mask.to(logits.device).bool().reshape(-1, *sizes).expand(len(logits), *sizes)
    counts = flat.flatten(1).sum(dim=1)
    if not bool(counts.all()):
        raise ExplainError("The mask is empty, so there is nothing to explain.")
    chosen = torch.stack([logits[sample, index] for sample, index in enumerate(classes)])
    totals = (chosen * flat).flatten(1).sum(dim=1)  # (B,)
    return (totals / counts if reduction == "mean" else totals).sum()
