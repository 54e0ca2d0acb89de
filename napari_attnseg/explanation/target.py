"""What is explained: a number made of the logits in a region that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from napari_attnseg.explanation.error import ExplainError


@dataclass(frozen=True, eq=False)
class Target:
    """The mean over a region of a weighted sum of logits.

    Args:
        region: Boolean, ``(D, H, W)`` on the network's grid, fixed before explaining.
        coefficients: By network channel; ``{2: 1.0, 1: -1.0}`` asks why 2 rather than 1.
        kind: What the region is, in a word; goes into the record.
        facts: What else the record says about it, JSON-ready.
        reason: Where the region is empty, why, in a sentence.
    """

    region: Tensor
    coefficients: dict[int, float]
    kind: str = "class"
    facts: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def voxels(self) -> int:
        """Return how many voxels the region has."""
        return int(self.region.sum())

    def to_dict(self) -> dict[str, Any]:
        """Return what the record of a map says about its target."""
        return {"kind": self.kind, "voxels": self.voxels, "reduction": "mean", **self.facts}

    def score(self, logits: Tensor, weights: Tensor) -> Tensor:
        """Return the parts of the score, ``(B,)``, that windows contribute.

        Args:
            logits: ``(B, K, d, h, w)`` of windows.
            weights: ``(d, h, w)``, or one per window: at each voxel what the window counts for, 0
                outside the region, already divided by the number of voxels of the whole region.
        """
        terms = [
            c * (logits[:, index] * weights).flatten(1).sum(dim=1)
            for index, c in self.coefficients.items()
        ]
        return torch.stack(terms).sum(dim=0)


def require_mask(mask: Tensor, x: Tensor) -> Tensor:
    """Return a mask for each sample, boolean ``(B, *sizes)``.

    Args:
        mask: ``sizes``, with or without a batch and a channel axis.
        x: ``(B, C, *sizes)``.

    Raises:
        ExplainError: If the mask has another size, or is empty.
    """
    sizes = x.shape[2:]
    if tuple(mask.shape[-len(sizes) :]) != tuple(sizes):
        raise ExplainError(
            f"The mask has the sizes {tuple(mask.shape)}, but the input has {tuple(sizes)}; "
            "give a mask of the input's size."
        )
    flat = mask.bool().reshape(-1, *sizes).expand(len(x), *sizes)
    if not bool(flat.flatten(1).any(dim=1).all()):
        raise ExplainError("The mask is empty, so there is nothing to explain.")
    return flat
