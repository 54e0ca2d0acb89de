"""What a class activation method is: pure functions of one layer's activations and gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from napari_attnseg.registry import Registry

METHODS: Registry[type[Method]] = Registry(
    "explanation method", "napari_attnseg.explanation.methods"
)


class ExplainError(ValueError):
    """Something that cannot be explained as asked; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Capture:
    """One layer in one window.

    Args:
        activations: What the layer gave out, ``(B, C, d, h, w)``.
        gradients: How the score changes with it, same shape.
        weights: What the window counts for at each voxel of the layer, broadcasting to
            ``(d, h, w)``; those of all windows add up to one.
    """

    activations: Tensor
    gradients: Tensor
    weights: Tensor


class Method(ABC):
    """A way of turning activations and gradients into a map; its docstring is the tooltip.

    The score's gradients already carry the weight of their window, as the score is the sum of all
    windows' weighted parts. So what is linear in them adds up over windows as it is.
    """

    @abstractmethod
    def one_window(self, capture: Capture) -> Tensor:
        """Return the raw, signed map ``(B, 1, d, h, w)`` of a window that is the whole volume."""


class LocalMethod(Method):
    """A method whose value at a voxel depends on that voxel only; maps of windows add up."""


class WeightedMethod(Method):
    """A method that weights channels by sums over the whole volume.

    One pass adds up the sums of all windows, a second one applies the weights; doing both in one
    window would give each window weights of its own, and maps that do not belong together.
    """

    @abstractmethod
    def sums(self, capture: Capture) -> Tensor:
        """Return what adds up over windows, ``(B, S, C)``."""

    @abstractmethod
    def channel_weights(self, sums: Tensor, voxels: int) -> Tensor:
        """Return a weight per channel, ``(B, C)``.

        Args:
            sums: Of all windows together, ``(B, S, C)``.
            voxels: Of the layer on the whole volume.
        """

    def one_window(self, capture: Capture) -> Tensor:
        voxels = capture.activations[0, 0].numel()
        weights = self.channel_weights(self.sums(capture), voxels)
        return weighted_sum(weights, capture.activations)


def weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """Return channels ``(B, C, d, h, w)`` times their weights ``(B, C)``: ``(B, 1, d, h, w)``."""
    # A product of matrices makes no temporary of all channels.
    return (weights[:, None, :] @ activations.flatten(2)).unflatten(2, activations.shape[2:])
