"""Common classes are thinned out at first, so that rare ones are found at all.

Where an organ fills one voxel in a hundred, a network soon learns never to name it: cross-entropy
gains by that at once, and Dice has no slope left where the probability is nothing. So early steps
learn from a part of the voxels only, in which classes differ less in number. As soon as every
class is found all voxels count, so that the probabilities come out right. That works with any
loss.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from napari_attnseg.axes import CHANNEL
from napari_attnseg.losses import IGNORE_INDEX

THINNED_UNTIL = 0.4
"""Progress at which thinning begins to fade, even if a class has not been found."""

WHOLE_FROM = 0.7
"""Progress from which every voxel counts in any case."""

FADING = 0.1
"""Progress in which thinning fades once every class has been found."""

FOUND_DICE = 0.5
"""A class is found when its Dice in the thinned batches, as a running mean, is beyond this."""

MEMORY = 0.9
"""Weight of what was before in the running mean."""

EVENNESS = 0.5
"""How even classes are made at first, see `thinned`."""

LEAST_KEPT = 0.05
"""Part of a class that is always kept."""


class Balance:
    """Decides how far classes are thinned out, and remembers which of them have been found.

    Args:
        classes: Number of classes without the background.
    """

    def __init__(self, classes: int) -> None:
        self.dice = [0.0] * classes
        self.found_at: float | None = None

    def evenness(self, progress: float) -> float:
        """Return how even classes are to be made at a progress of the training, 0 to 1."""
        fading = (progress - THINNED_UNTIL) / (WHOLE_FROM - THINNED_UNTIL)
        if self.found_at is not None:
            fading = max(fading, (progress - self.found_at) / FADING)
        return EVENNESS * (1 - min(1.0, max(0.0, fading)))

    def note(self, logits: Tensor, target: Tensor, progress: float) -> None:
        """Look at what a thinned batch was taken for.

        Args:
            logits: ``(B, K, D, H, W)``.
            target: The thinned target, ``(B, D, H, W)``.
            progress: Of the training.
        """
        if self.found_at is not None:
            return
        counted = target != IGNORE_INDEX
        predicted = logits.detach().argmax(dim=CHANNEL)[counted]
        kinds = len(self.dice) + 1
        joint = torch.bincount(target[counted] * kinds + predicted, minlength=kinds**2)
        table = joint.reshape(kinds, kinds).cpu()  # (reference, prediction)
        for index in range(1, kinds):
            reference = int(table[index].sum())
            if reference:
                both = reference + int(table[:, index].sum())
                now = 2 * int(table[index, index]) / both
                self.dice[index - 1] = MEMORY * self.dice[index - 1] + (1 - MEMORY) * now
        if min(self.dice, default=1.0) > FOUND_DICE:
            self.found_at = progress

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"dice": self.dice, "found_at": self.found_at}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.dice, self.found_at = state["dice"], state["found_at"]


def thinned(target: Tensor, evenness: float, *, seed: int) -> Tensor:
    """Return a target in which voxels of common classes are ignored by chance.

    Of a class n times as frequent as the rarest one in the batch, ``n ** -evenness`` is kept.

    Args:
        target: Channel indices ``(B, D, H, W)``, int64, on the CPU.
        evenness: 0 leaves classes as frequent as they are, 1 makes all as rare as the rarest.
        seed: Of the choice.
    """
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
