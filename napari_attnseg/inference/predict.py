"""From an image to a mask on the image's own grid."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_attnseg.config import PredictConfig
from napari_attnseg.inference.device import choose_device, choose_precision, has_native_bf16
from napari_attnseg.inference.run import Run
from napari_attnseg.inference.sliding import (
    ShouldStop,
    WindowReport,
    device_of,
    never,
    sliding_window,
)
from napari_attnseg.preprocessing import (
    preprocess,
    restore_labels,
    restore_probabilities,
    restore_scalar,
    unlike,
)
from napari_attnseg.volume import Volume

_SIDES = re.compile(
    r"(?<![a-z])(left|right|l|r|lt|rt|lh|rh|links|rechts|gauche|droite|sinister|dexter)(?![a-z])"
)


class InputError(ValueError):
    """An image that does not fit the run; the message says what the run needs."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a run says about an image, on the image's own grid.

    Args:
        labels: Class values, in the smallest unsigned type that holds those of the run.
        probabilities: Float32, one channel per class with the background first; if asked for.
        uncertainty: Entropy of the probabilities, 0 (sure) to 1 (all classes alike); if asked
            for.
        warnings: Sentences that the user should see.
    """

    labels: Volume
    probabilities: Volume | None = None
    uncertainty: Volume | None = None
    warnings: tuple[str, ...] = ()


def predict(run: Run, volume: Volume, **settings: Any) -> Volume:
    """Return the mask of a volume, on the volume's own grid.

    Args:
        run: From `load_run`.
        volume: All images of a case, as channels in the run's order or with their names.
        settings: Fields of `PredictConfig`.

    Raises:
        InputError: If the volume's channels are not those of the run.
    """
    steps = predict_steps(run, volume, PredictConfig(**settings))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value.labels


def predict_steps(
    run: Run,
    image: Volume,
    settings: PredictConfig | None = None,
    should_stop: ShouldStop = never,
) -> Generator[WindowReport, None, Prediction | None]:
    """Yield after every window, and return the prediction, or None if it was stopped.

    Args:
        run: From `load_run`.
        image: All images of a case, as channels in the run's order or with their names.
        settings: How to predict.
        should_stop: Asked between windows.

    Raises:
        InputError: If the image's channels are not those of the run.
    """
    settings = settings or PredictConfig()
    image = bind_channels(run, image)
    warnings = unlike(image, run.plan)
    prepared = preprocess(image, run.plan)
    axes: tuple[int, ...] = ()
    if settings.tta:
        axes = mirror_axes(run, prepared.orientation)
        if not axes:
            warnings.append(
                "Nothing was averaged: this network was not trained on mirrored images."
            )
    with on_device(run, settings.device) as device:
        logits = yield from sliding_window(
            run.model,
            network_input(prepared),
            run.plan.patch_size,
            overlap=settings.overlap,
            precision=precision_for(run, device, settings.precision),
            mirror_axes=axes,
            should_stop=should_stop,
        )
    if logits is None:
        return None
    return _restored(run, image, logits, settings, tuple(warnings))


def bind_channels(run: Run, image: Volume) -> Volume:
    """Return an image whose channels are those of the run, in the run's order.

    Channels with names are put in order by them; without names the order is taken as it is.

    Raises:
        InputError: If one is missing or there are too many.
    """
    wanted, found = run.channels, image.channels
    names = ", ".join(wanted)
    if found and len(wanted) > 1:
        missing = [name for name in wanted if name not in found]
        if missing:
            raise InputError(
                f"The image {missing[0]!r} is missing: the run {run.id} needs {names}, and "
                f"{', '.join(found)} was given."
            )
        order = [found.index(name) for name in wanted]
        if order != list(range(len(found))):
            return image.replace(data=image.data[order], channels=wanted)
    if image.data.shape[0] != run.config.in_channels:
        count = run.config.in_channels
        raise InputError(
            f"The run {run.id} needs {count} image{'s' * (count > 1)} a case"
            f"{f' ({names})' if names else ''}, and {image.data.shape[0]} were found."
        )
    return image


def network_input(prepared: Volume) -> Tensor:
    """Return a preprocessed volume as ``(1, C, D, H, W)`` in float32."""
    return torch.from_numpy(prepared.data)[None].float()


def precision_for(run: Run, device: torch.device, name: str = "auto") -> str:
    """Return the number format for a prediction: that of the run's training where it is native.

    A mask must not change because half precision came with another machine, so ``"auto"`` never
    leaves the float32 in which a run was validated.
    """
    if name != "auto":
        return name
    if run.precision == "float32":
        return "float32"
    if device.type == "cuda" or (device.type == "cpu" and has_native_bf16()):
        return choose_precision(device, "auto")
    return "float32"


def mirror_axes(run: Run, orientation: str) -> tuple[int, ...]:
    """Return the axes of ``(D, H, W)`` along which a network may be shown an image mirrored.

    That is the patient's left-right at most, the one symmetry that bodies have and training
    shows. It is none where a class name tells a side, or where training left mirroring out.

    Args:
        run: The trained run.
        orientation: Letters of i, j and k of the network's input, such as ``"RAS"``.
    """
    if "flip" not in run.train_config.get("augment", ("flip",)):
        return ()
    if any(_SIDES.search(_words(name)) for name in run.classes.values()):
        return ()
    return tuple(2 - at for at, letter in enumerate(orientation) if letter in "LR")


@contextmanager
def on_device(run: Run, name: str) -> Iterator[torch.device]:
    """Put a run's network on a device for a while; ``"auto"`` is where it is."""
    home = device_of(run.model)
    device = home if name == "auto" else choose_device(name)
    run.model.to(device)
    try:
        yield device
    finally:
        run.model.to(home)


def _restored(
    run: Run,
    image: Volume,
    logits: Tensor,
    settings: PredictConfig,
    warnings: tuple[str, ...],
) -> Prediction:
    labels = restore_labels(logits, image.grid, run.plan, run.values[1:]).data
    probabilities = uncertainty = None
    if settings.probabilities:
        native = restore_probabilities(logits, image.grid, run.plan).data
        names = ("background", *(run.classes[value] for value in run.values[1:]))
        probabilities = image.on_grid(native, channels=names)
    if settings.uncertainty:
        softmax_in_place(logits)
        native = restore_scalar(entropy(logits), image.grid, run.plan).data
        uncertainty = image.on_grid(native)
    return Prediction(
        image.on_grid(labels, classes=run.classes), probabilities, uncertainty, warnings
    )


def softmax_in_place(logits: Tensor) -> None:
    """Turn logits ``(K, D, H, W)`` into probabilities, slice by slice to save memory."""
    for depth in range(logits.shape[1]):
        logits[:, depth] = logits[:, depth].softmax(dim=0)


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of probabilities ``(K, D, H, W)`` as a fraction of the largest one."""
    total = torch.zeros_like(probabilities[0])
    for one in probabilities:
        total -= torch.special.xlogy(one, one)
    return total / math.log(max(2, probabilities.shape[0]))


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
