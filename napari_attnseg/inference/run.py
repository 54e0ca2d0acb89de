"""A trained run on disk: written so that nothing is ever half there, read so that it must fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from napari_attnseg import __version__
from napari_attnseg.config import ConfigError, ModelConfig
from napari_attnseg.inference.device import choose_device
from napari_attnseg.io import atomic_write
from napari_attnseg.io.json_words import why_not_json
from napari_attnseg.models import ModelError, SegmentationModel, build_model
from napari_attnseg.preprocessing import Plan

CONFIG_FILE = "config.json"
PLAN_FILE = "plan.json"
WEIGHTS_FILES = {"best": "weights.safetensors", "last": "last.safetensors"}


class RunError(ValueError):
    """A run that cannot be used; the message says what is missing or does not fit."""


@dataclass(frozen=True, eq=False)
class Run:
    """A trained network with all that using it takes.

    Args:
        model: In evaluation mode.
        plan: How images become its input, and its output masks.
        config: How the network is built.
        classes: Names by class value, ascending; network channel k is the k-th of them, and
            channel 0 the background.
        channels: Names of the images of a case, in the order of the network's input.
        path: The run's folder.
        id: The folder's name.
        weights: ``"best"`` or ``"last"``.
        weights_sha256: Of the weights file.
        split: Case names by set.
        train_config: The training settings as they were saved.
        precision: Number format in which it was trained and validated.
        threads: CPU threads it was trained with, where known.
    """

    model: SegmentationModel
    plan: Plan
    config: ModelConfig
    classes: dict[int, str]
    channels: tuple[str, ...]
    path: Path
    id: str
    weights: str = "best"
    weights_sha256: str = ""
    split: dict[str, list[str]] = field(default_factory=dict)
    train_config: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    threads: int | None = None

    @property
    def values(self) -> tuple[int, ...]:
        """Return the class value of each network channel; the background's is 0."""
        return 0, *sorted(self.classes)

    def class_index(self, value: int) -> int:
        """Return the network channel of a class value.

        Raises:
            RunError: If the network knows no such class.
        """
        if value not in self.values:
            known = ", ".join(f"{v} ({name})" for v, name in sorted(self.classes.items()))
            raise RunError(f"The run {self.id} has no class {value}; its classes are {known}.")
        return self.values.index(value)


def save_run_files(
    folder: str | Path,
    *,
    config: ModelConfig,
    plan: Plan,
    classes: Mapping[int, str],
    channels: Sequence[str],
    split: Mapping[str, Sequence[str]] | None = None,
    train: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Path:
    """Write ``config.json`` and ``plan.json`` of a run, and return its folder.

    Args:
        folder: Made if it is not there.
        config: How the network is built.
        plan: How images become its input.
        classes: Names by class value, without the background.
        channels: Names of the images of a case.
        split: Case names by set.
        train: Training settings.
        facts: More that is JSON-ready, such as ``threads`` and ``precision``.
    """
    folder = Path(folder)
    written = {
        "version": __version__,
        "model": config.to_dict(),
        "train": dict(train or {}),
        "classes": {str(value): name for value, name in sorted(classes.items())},
        "channels": list(channels),
        "split": {name: list(cases) for name, cases in (split or {}).items()},
        **facts,
    }
    write_json_atomic(folder / PLAN_FILE, plan.to_dict())
    write_json_atomic(folder / CONFIG_FILE, written)
    return folder


def write_json_atomic(path: str | Path, values: Any) -> Path:
    """Write JSON whole or not at all; NaN and infinity are refused, since JSON has neither."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8") + b"\n")
    return Path(path)


def save_weights_atomic(path: str | Path, weights: nn.Module | Mapping[str, Tensor]) -> str:
    """Write weights as safetensors, whole or not at all, and return the file's SHA-256."""
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    # Clones, since safetensors refuses tensors that share memory.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    payload = safetensors.torch.save(tensors)
    with atomic_write(path) as file:
        file.write(payload)
    return hashlib.sha256(payload).hexdigest()


def load_run(path: str | Path, *, weights: str = "best", device: str = "auto") -> Run:
    """Read a run's folder and build its network.

    Args:
        path: The folder, or one of its weights files.
        weights: ``"best"`` or ``"last"``; ignored where `path` is a weights file.
        device: Where the network goes.

    Raises:
        RunError: If something is missing, damaged, or does not fit together.
    """
    folder = Path(path)
    if folder.suffix == ".safetensors":
        named = {name: kind for kind, name in WEIGHTS_FILES.items()}
        folder, weights = folder.parent, named.get(folder.name, folder.name)
    saved = _read_json(folder, CONFIG_FILE)
    try:
        config = ModelConfig.from_dict(saved["model"])
        plan = Plan.from_dict(_read_json(folder, PLAN_FILE))
        model = build_model(config)
        classes = {int(value): str(name) for value, name in sorted(saved["classes"].items())}
    except (KeyError, TypeError, ConfigError, ModelError) as error:
        raise RunError(f"The run {folder} cannot be built: {error}") from error
    file = folder / WEIGHTS_FILES.get(weights, weights)
    load_weights(model, file)
    return Run(
        model=model.eval().to(choose_device(device)),
        plan=plan,
        config=config,
        classes=dict(sorted(classes.items())),
        channels=tuple(saved.get("channels", ())),
        path=folder.resolve(),
        id=folder.resolve().name,
        weights=weights,
        weights_sha256=sha256(file),
        split=saved.get("split", {}),
        train_config=saved.get("train", {}),
        precision=saved.get("precision") or "float32",
        threads=saved.get("threads"),
    )


def load_weights(model: nn.Module, file: str | Path) -> None:
    """Fill a network with the weights in a safetensors file.

    Raises:
        RunError: If the file is missing or damaged, or its weights are those of another network.
    """
    file = Path(file)
    if not file.is_file():
        raise RunError(f"There are no weights at {file}; train the run first, or resume it.")
    try:
        found = safetensors.torch.load_file(file)
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"The weights {file} are damaged ({error}); copy them again from where the run was "
            "trained."
        ) from error
    difference = _difference(model.state_dict(), found)
    if difference is not None:
        raise RunError(
            f"The weights {file} are those of another network than {CONFIG_FILE} beside them "
            f"describes: {difference}. Keep the files of a run together, as training wrote them."
        )
    model.load_state_dict(found)


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    missing = [name for name in expected if name not in found]
    surplus = [name for name in found if name not in expected]
    if missing or surplus:
        first = f"{missing[0]} is missing" if missing else f"{surplus[0]} is unknown"
        return f"{first} ({len(missing)} missing, {len(surplus)} unknown)"
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            return f"{name} has shape {_shape(found[name])} instead of {_shape(tensor)}"
        if found[name].is_floating_point() and not torch.isfinite(found[name]).all():
            return f"{name} holds values that are not finite"
    return None


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "scalar"


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    if not file.is_file():
        raise RunError(f"There is no run at {folder}: {name} is missing.")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise RunError(
            f"{file} is damaged: {why_not_json(error)}. Copy it again from where the run was "
            "trained."
        ) from error
    if not isinstance(values, dict):
        raise RunError(f"{file} does not hold the settings of a run.")
    return values
