"""Where a training stands, beside the weights: what a resumed run must know."""

from __future__ import annotations

from dataclasses import dataclass

from napari_attnseg.axes import Size


@dataclass
class Progress:
    """Where a training stands: all that a resumed run needs beside the learner.

    Args:
        batch_size: Patches a step, after any lowering.
        patch_size: Voxels of a patch, after any lowering.
        steps_per_epoch: Steps that an epoch has.
        step: Steps made.
        elapsed_seconds: Wall time of steps and validations.
        checked_cases: Cases that validations in between look at.
        best_score: Highest mean Dice of such a validation.
        without_progress: Validations since then.
        validated_step: Step of the last validation; it ended at ``validated_seconds`` and took
            ``validation_cost`` seconds.
        rate_factor: What the learning rate is multiplied by since losses were not finite.
        failures: Steps in a row whose loss was not finite.
        rescues: How often the weights had to be set back.
    """

    batch_size: int
    patch_size: Size
    steps_per_epoch: int
    checked_cases: int = 0
    step: int = 0
    elapsed_seconds: float = 0.0
    best_score: float | None = None
    best_epoch: int = 0
    without_progress: int = 0
    validated_step: int = 0
    validated_seconds: float = 0.0
    validation_cost: float = 0.0
    rate_factor: float = 1.0
    failures: int = 0
    rescues: int = 0

    @property
    def epoch(self) -> int:
        """Return the epoch of the last step made, from 1."""
        return max(1, -(-self.step // self.steps_per_epoch))

    @property
    def is_epoch_end(self) -> bool:
        """Return whether the last step was the last of its epoch."""
        return self.step % self.steps_per_epoch == 0
