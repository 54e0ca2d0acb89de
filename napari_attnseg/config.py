"""Settings of models, training, prediction and explanation as checked, frozen dataclasses.

Each one turns into JSON and back (`to_dict`, `from_dict`); an unknown key is an error, because a
misspelt setting that is silently ignored costs a training run.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it, its value and what is allowed."""


def setting(
    default: Any,
    *,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] | None = None,
) -> Any:
    """Return a dataclass field with its help text and its limits."""
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """Base of all settings: checks limits when built, and round-trips through JSON."""

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if isinstance(value, list):
                object.__setattr__(self, one.name, _as_tuple(value))
            if value is not None:
                _check(one, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values (tuples become lists)."""
        return cast("dict[str, Any]", _as_json(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from `to_dict`'s result.

        Raises:
            ConfigError: If a key is unknown or a value is outside its limits.
        """
        names = [one.name for one in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                close = difflib.get_close_matches(key, names, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise ConfigError(f"{cls.__name__} has no setting {key!r}.{hint}")
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class ModelConfig(Config):
    """Everything needed to build the same network again; it travels in every checkpoint."""

    backbone: str = setting("unet3d", help="Network")
    attention: str = setting("none", help="Attention module")
    sites: tuple[str, ...] = setting(
        (), help="Where attention sits, such as 'encoder:0,2' or 'skip'; none means as published"
    )
    dims: int = setting(3, help="2 treats slices as a batch, 3 sees volumes", choices=(2, 3))
    in_channels: int = setting(1, help="Images per case", minimum=1)
    out_channels: int = setting(2, help="Classes with the background", minimum=1)
    preset: str = setting("tiny", help="Named size of the backbone")
    options: dict[str, Any] = setting({}, help="Backbone options, over those of the preset")
    attention_options: dict[str, Any] = setting({}, help="Options of the attention module")


@dataclass(frozen=True)
class TrainConfig(Config):
    """How a network learns. ``None`` means that the plan decides."""

    loss: str = setting("dice-ce", help="Loss function")
    minutes: float | None = setting(None, help="Wall time of steps and validations", minimum=0.01)
    epochs: int | None = setting(None, help="Passes over the training cases", minimum=1)
    steps: int | None = setting(None, help="Optimiser steps in all", minimum=1)
    seed: int = setting(0, help="Seed of weights, sampling and augmentation", minimum=0)
    device: str = setting("auto", help="auto, cpu, cuda, cuda:1 or mps")
    precision: str = setting(
        "auto",
        help="Number format of the forward pass",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    optimizer: str = setting("adamw", help="Optimiser", choices=("adamw", "sgd"))
    learning_rate: float | None = setting(None, help="Highest learning rate", minimum=1e-8)
    weight_decay: float = setting(1e-4, help="Weight decay", minimum=0.0)
    schedule: str = setting("cosine", help="Learning-rate schedule", choices=("cosine", "poly"))
    batch_size: int | None = setting(None, help="Patches a step", minimum=1)
    patch_size: tuple[int, ...] | None = setting(None, help="Voxels of a patch along D, H, W")
    steps_per_epoch: int | None = setting(None, help="Optimiser steps an epoch", minimum=1)
    validate_every: int | None = setting(None, help="Epochs between validations", minimum=1)
    patience: int | None = setting(
        None, help="Validations without progress before stopping", minimum=1
    )
    augment: tuple[str, ...] = setting(
        ("affine", "flip", "intensity", "noise"), help="Random changes of training patches"
    )
    ignore_label: int | None = setting(None, help="Value in label files that is not learned from")
    threads: int | None = setting(None, help="CPU threads of torch", minimum=1)


@dataclass(frozen=True)
class PredictConfig(Config):
    """How a trained network is applied to a volume."""

    overlap: float = setting(0.5, help="Overlap of neighbouring windows", minimum=0.0, maximum=0.9)
    tta: bool = setting(False, help="Average over flips")
    probabilities: bool = setting(False, help="Also give the probability of each class")
    uncertainty: bool = setting(False, help="Also give the entropy of the probabilities")
    device: str = setting("auto", help="auto, cpu, cuda, cuda:1 or mps")
    precision: str = setting(
        "auto", help="Number format", choices=("auto", "float32", "bfloat16", "float16")
    )


def _check(one: dataclasses.Field[Any], value: Any) -> None:
    low, high = one.metadata.get("minimum"), one.metadata.get("maximum")
    choices = one.metadata.get("choices")
    if choices is not None and value not in choices:
        allowed = ", ".join(map(str, choices))
        raise ConfigError(f"{one.name} is {value!r}; choose one of {allowed}.")
    if low is not None and value < low:
        raise ConfigError(f"{one.name} is {value}; the smallest allowed is {low}.")
    if high is not None and value > high:
        raise ConfigError(f"{one.name} is {value}; the largest allowed is {high}.")


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(one) for one in value) if isinstance(value, (list, tuple)) else value


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _as_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(one) for one in value]
    return value
