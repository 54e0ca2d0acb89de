"""A running mean of the weights, which predicts better than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

SLOWEST_DECAY = 0.999


class AveragedWeights:
    """Exponential moving average of a model's state, with a decay that rises as steps are made.

    After step t the decay is ``min(0.999, (1 + t) / (10 + t))``: an average over the last tenth
    of the steps, so that neither a short nor a long training is averaged with its own beginning.

    Args:
        model: Where the first values come from.
    """

    def __init__(self, model: nn.Module) -> None:
        self.values = {name: one.detach().clone() for name, one in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights after a step (from 1)."""
        decay = min(SLOWEST_DECAY, (1 + step) / (10 + step))
        moving: list[Tensor] = []
        towards: list[Tensor] = []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                moving.append(self.values[name])
                towards.append(value)
            else:
                self.values[name].copy_(value)
        torch._foreach_lerp_(moving, towards, 1 - decay)

    @contextmanager
    def used_by(self, model: nn.Module) -> Iterator[nn.Module]:
        """Put the average into the model, in evaluation mode, and the model's own state back."""
        own = {name: one.detach().clone() for name, one in model.state_dict().items()}
        was_training = model.training
        model.load_state_dict(self.values)
        model.eval()
        try:
            yield model
        finally:
            model.load_state_dict(own)
            model.train(was_training)
