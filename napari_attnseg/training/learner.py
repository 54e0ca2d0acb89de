"""A network with all that one optimiser step needs and a resumed run must have back."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_attnseg.config import TrainConfig
from napari_attnseg.inference.device import precision_context
from napari_attnseg.losses import IGNORE_INDEX
from napari_attnseg.models import SegmentationModel
from napari_attnseg.training.averaging import AveragedWeights
from napari_attnseg.training.balance import Balance, thinned
from napari_attnseg.training.batches import Batch

logger = logging.getLogger(__name__)

LARGEST_GRADIENT = 5.0
"""Longer gradients are shortened to this norm."""

SGD_RATE = 1e-2
ADAMW_RATE = 5e-3
"""Highest rate of a network of `USUAL_PARAMETERS`; smaller ones take larger steps."""

USUAL_PARAMETERS = 1_400_000
ADAMW_LIMITS = (1e-3, 1e-2)
FINE_TUNING_FACTOR = 0.25
"""A network that already knows its task is moved by smaller steps."""

Criterion = Callable[..., Tensor]


@dataclass(frozen=True)
class Outcome:
    """What one step did.

    Args:
        loss: Loss before the step.
        parts: ``main``, the loss of the network's main output, or the parts that the network
            itself names, and ``auxiliary``, what its other outputs add, where it has any.
        is_applied: Whether the weights were changed; not where loss or gradient were not finite.
    """

    loss: float
    parts: dict[str, float]
    is_applied: bool


class Learner:
    """The network, its optimiser, its averaged weights and the scaler of half-precision losses.

    Args:
        model: Network on its device.
        criterion: ``criterion(logits, target, ignore_index=...)``.
        train: Settings of the optimiser.
        is_fine_tuning: Whether the network already knows its task.
        precision: Number format of the forward pass.
    """

    def __init__(
        self,
        model: SegmentationModel,
        criterion: Criterion,
        *,
        train: TrainConfig,
        is_fine_tuning: bool,
        precision: str,
    ) -> None:
        self.model = model
        self.criterion = criterion
        self.train = train
        self.precision = precision
        self.device = next(model.parameters()).device
        use_channels_last(model)
        self.peak_rate = peak_rate_of(
            train, parameters=parameters_of(model), is_fine_tuning=is_fine_tuning
        )
        if train.learning_rate is None:
            self.peak_rate = min(self.peak_rate, model.largest_rate)
        self.optimiser = make_optimiser(model, train, self.peak_rate)
        self.averaged = AveragedWeights(model)
        is_half = precision == "float16" and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=is_half)
        self.balance = Balance(model.config.out_channels - 1)
        self._main: Tensor | None = None

    def step(self, batch: Batch, *, number: int, rate: float, progress: float = 1.0) -> Outcome:
        """Learn from a batch.

        Args:
            batch: Patches and their labels.
            number: Number of the step, from 0.
            rate: Learning rate.
            progress: Of the training, 0 to 1; early steps balance the classes.
        """
        # All chance in here comes from the step's number, so that a resumed run agrees.
        seed = self.train.seed * 1_000_003 + number
        torch.manual_seed(seed)
        self.model.train()
        self.model.training_progress = progress
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        image = as_channels_last(batch.image).to(self.device, non_blocking=True)
        evenness = self.balance.evenness(progress)
        label = thinned(batch.label, evenness, seed=seed)
        target = label.to(self.device, non_blocking=True)
        self._main = None
        with self.autocast():
            output = self.model(image, has_context=image.shape[2:] != target.shape[1:])
            loss = self.model.auxiliary_loss(output, target, self._loss)
        if evenness > 0:
            self.balance.note(output.logits, target, progress)
        self.scaler.scale(loss).backward()
        total = float(loss.detach())
        is_applied = math.isfinite(total) and self._move()
        if is_applied:
            self.averaged.update(self.model, number + 1)
        else:
            self._mend_statistics()
        return Outcome(total, self._parts(total, output.parts), is_applied)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which a forward pass uses the run's number format."""
        return precision_context(self.device, self.precision)

    def start_over_from_average(self) -> None:
        """Take back the averaged weights and forget what the optimiser remembers."""
        self.model.load_state_dict(self.averaged.values)
        self.optimiser = make_optimiser(self.model, self.train, self.peak_rate)

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        return {
            "model": self.model.state_dict(),
            "averaged": self.averaged.values,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "balance": self.balance.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.averaged.values = {
            name: one.to(self.device) for name, one in state["averaged"].items()
        }
        self.optimiser.load_state_dict(state["optimiser"])
        self.balance.restore(state["balance"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        loss = self.criterion(logits.float(), target, ignore_index=IGNORE_INDEX)
        if self._main is None:
            self._main = loss.detach()
        return loss

    def _parts(self, total: float, named: Mapping[str, Tensor]) -> dict[str, float]:
        parts = {name: float(part) for name, part in named.items()}
        if not parts:
            parts["main"] = total if self._main is None else float(self._main)
        extra = total - sum(parts.values())
        # Sums of several parts differ from their total in the last digits.
        least = 1e-5 * abs(total) if named else 1e-9
        return parts if abs(extra) <= least else {**parts, "auxiliary": extra}

    @torch.no_grad()
    def _mend_statistics(self) -> None:
        """Take back the running statistics of normalisations that a broken batch has spoilt."""
        for name, one in self.model.named_buffers():
            if name in self.averaged.values and not one.isfinite().all():
                one.copy_(self.averaged.values[name])

    def _move(self) -> bool:
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        is_finite = bool(norm.isfinite())
        if is_finite or self.scaler.is_enabled():
            self.scaler.step(self.optimiser)
            self.scaler.update()
        return is_finite


def make_optimiser(
    model: nn.Module, train: TrainConfig, peak_rate: float
) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name."""
    parameters = [one for one in model.parameters() if one.requires_grad]
    if train.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, peak_rate, momentum=0.95, nesterov=True, weight_decay=train.weight_decay
        )
    return torch.optim.AdamW(parameters, peak_rate, weight_decay=train.weight_decay)


def peak_rate_of(train: TrainConfig, *, parameters: int, is_fine_tuning: bool) -> float:
    """Return the highest learning rate: the settings' own, or what suits optimiser and network.

    Adam moves every weight by about the rate, whatever the gradient, and the more weights feed a
    unit the more its output moves. So the rate falls with the network's width, which goes with
    the square root of its parameters.

    Args:
        train: Settings.
        parameters: Trainable parameters of the network.
        is_fine_tuning: Whether the network already knows its task.
    """
    if train.learning_rate is not None:
        return train.learning_rate
    if train.optimizer == "sgd":
        rate = SGD_RATE
    else:
        low, high = ADAMW_LIMITS
        rate = ADAMW_RATE * (USUAL_PARAMETERS / max(1, parameters)) ** 0.25
        rate = min(high, max(low, rate))
    return rate * FINE_TUNING_FACTOR if is_fine_tuning else rate


def parameters_of(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def use_channels_last(model: nn.Module) -> None:
    """Store convolution kernels channel by channel last, which CPUs multiply faster."""
    for one in model.parameters():
        one.data = as_channels_last(one.data)


def as_channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor of 4 or 5 axes with its channels beside each other in memory."""
    if tensor.ndim == 5:
        return tensor.contiguous(memory_format=torch.channels_last_3d)
    if tensor.ndim == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor
