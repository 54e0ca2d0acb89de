"""Losses: one file each, all with the signature of `Loss`.

Every loss is computed in float32 whatever the type of the logits, is finite when a class is empty,
and gives voxels of the ignored value a gradient of exactly zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_attnseg.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

IGNORE_INDEX = 255
"""Target value of voxels that nothing is learned from."""


class Loss(Protocol):
    """What every registered loss does."""

    def __call__(
        self, logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX
    ) -> Tensor:
        """Return a float32 scalar.

        Args:
            logits: ``(B, K, D, H, W)`` before softmax; ``(B, K, H, W)`` works too.
            target: Class index of each voxel, ``(B, D, H, W)``, int64.
            ignore_index: Target value of voxels that do not count.
        """


LOSSES: Registry[Loss] = Registry("loss", "napari_attnseg.losses")
