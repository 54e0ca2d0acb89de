"""Weights of slices, learned for each channel, and the slices that matter most."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.models.blocks import check_choice
from napari_attnseg.models.channel_weights import POOLINGS
from napari_attnseg.models.contract import ModelError

MODES = ("adaptive", "fixed")


class SliceWeights(nn.Module):
    """Squeeze and excitation along the slices, with weights of its own for each channel.

    ``w_c = sigmoid(B_c relu(A_c s_c + a_c) + b_c)``, where s_c holds the mean of channel c in
    each slice; Zhang et al. 2022. Slices lie along D; in 2 dimensions rows are taken for slices.

    Args:
        channels: C.
        depth: Slices that the weights are made for.
        reduction: Slices over the number of hidden units, of which there is at least one.
        pooling: ``"avg"``, ``"max"``, or ``"both"``, which adds the two before the sigmoid.
        mode: ``"adaptive"`` resizes s to `depth` and w back, ``"fixed"`` refuses other depths.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        *,
        reduction: int = 16,
        pooling: str = "avg",
        mode: str = "adaptive",
    ) -> None:
        super().__init__()
        check_choice("slice pooling", pooling, POOLINGS)
        check_choice("mode", mode, MODES)
        hidden = max(1, depth // reduction)
        self.depth, self.pooling, self.mode = depth, pooling, mode
        self.squeeze = _uniform(depth, channels, hidden, depth)
        self.squeeze_bias = _uniform(depth, channels, hidden)
        self.act = nn.ReLU()
        self.excite = _uniform(hidden, channels, depth, hidden)
        self.excite_bias = _uniform(hidden, channels, depth)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return one weight for each channel and slice, ``(B, C, d)``."""
        if self.mode == "fixed" and x.shape[2] != self.depth:
            raise ModelError(
                f"Slice attention was built for {self.depth} slices here, but is given "
                f"{x.shape[2]}; use mode 'adaptive', or volumes of the depth it was built for."
            )
        energy = self._energy(x.flatten(3))
        return resize_slices(self.gate(energy), x.shape[2])

    def _energy(self, x: Tensor) -> Tensor:
        pools = {"avg": [x.mean(dim=3)], "max": [x.amax(dim=3)]}
        pooled = pools["avg"] + pools["max"] if self.pooling == "both" else pools[self.pooling]
        energies = [self._excited(resize_slices(one, self.depth)) for one in pooled]
        return torch.stack(energies).sum(dim=0)

    def _excited(self, pooled: Tensor) -> Tensor:
        hidden = torch.einsum("bcd,chd->bch", pooled, self.squeeze) + self.squeeze_bias
        return torch.einsum("bch,cdh->bcd", self.act(hidden), self.excite) + self.excite_bias


def depth_at(depth: int, level: int) -> int:
    """Return the slices at a level of a network that halves them at each, at least one."""
    return max(1, depth // 2**level)


def key_slices(weights: Tensor) -> Tensor:
    """Return which slices are at least as probable as the mean, after a softmax over slices.

    Args:
        weights: ``(B, C, d)``.

    Returns:
        Boolean, same shape; at least one slice of each channel is True.
    """
    fixed = weights.detach().to(torch.promote_types(weights.dtype, torch.float32))
    # The mean probability is 1 / d, so this is softmax(w) >= 1 / d without dividing.
    threshold = fixed.logsumexp(dim=2, keepdim=True) - math.log(fixed.shape[2])
    # Rounding could put the threshold above equal weights.
    return fixed >= torch.minimum(threshold, fixed.amax(dim=2, keepdim=True))


def resize_slices(values: Tensor, depth: int) -> Tensor:
    """Return ``(B, C, d)`` at another number of slices: means of fewer, or between more."""
    if values.shape[2] == depth:
        return values
    if values.shape[2] > depth:
        return F.adaptive_avg_pool1d(values, depth)
    return F.interpolate(values, size=depth, mode="linear", align_corners=False)


def _uniform(inputs: int, *shape: int) -> nn.Parameter:
    """Return weights that start as those of a linear layer with so many inputs."""
    return nn.Parameter(nn.init.uniform_(torch.empty(shape), -(inputs**-0.5), inputs**-0.5))
