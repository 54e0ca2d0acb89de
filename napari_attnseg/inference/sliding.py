"""Apply a network to a volume window by window."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.inference.device import precision_context
from napari_attnseg.inference.window import Canvas, WindowPlan, plan_windows
from napari_attnseg.models import SegmentationModel

ShouldStop = Callable[[], bool]


def never() -> bool:
    """Return False: nobody asks to stop."""
    return False


@dataclass(frozen=True)
class WindowReport:
    """How far work on a volume has come.

    Args:
        done: Windows worked on.
        total: Windows there are in all, as far as is known.
        text: What is being done, in a few words.
    """

    done: int
    total: int
    text: str = "Segmenting"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode, and every module back in its own mode afterwards."""
    were_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in were_training:
            module.training = True


def windows_for(
    model: SegmentationModel, size: Size, patch_size: Sequence[int], overlap: float = 0.5
) -> WindowPlan:
    """Return the windows in which a network sees a volume.

    A flat network, which sees each slice by itself, takes as many slices at a time as the patch
    has.
    """
    return plan_windows(
        size,
        patch_size,
        overlap=overlap,
        multiple=model.size_multiple,
        margin=model.context_margin,
        is_flat=model.dims == 2,
    )


def forward_window(model: SegmentationModel, x: Tensor, plan: WindowPlan) -> Tensor:
    """Return the logits ``(1, K, d, h, w)`` of a window that `WindowPlan.cut` made."""
    logits = model(x, has_context=True) if any(plan.margin) else model(x)
    return plan.centre(cast("Tensor", logits))


def sliding_window(
    model: SegmentationModel,
    x: Tensor,
    patch_size: Sequence[int],
    *,
    overlap: float = 0.5,
    precision: str = "float32",
    mirror_axes: tuple[int, ...] = (),
    should_stop: ShouldStop = never,
) -> Generator[WindowReport, None, Tensor | None]:
    """Yield after every window, and return the logits of a whole volume.

    The network computes on its own device; the sum of the logits is kept once, in float32.

    Args:
        model: Left as it was found.
        x: ``(1, C, D, H, W)`` of any size.
        patch_size: Voxels of a window along D, H and W.
        overlap: Least fraction of a window that its neighbour shares.
        precision: Number format in which the network computes.
        mirror_axes: Axes of ``(D, H, W)`` along which each window is also seen mirrored, one
            after the other; the logits are averaged.
        should_stop: Asked between windows.

    Returns:
        Logits ``(K, D, H, W)`` in float32, or None if it was stopped.
    """
    plan = windows_for(model, cast("Size", tuple(x.shape[2:])), patch_size, overlap)
    device = device_of(model)
    canvas = Canvas(plan)
    total: Tensor | None = None
    with evaluating(model):
        for done, start in enumerate(plan, start=1):
            if should_stop():
                return None
            window = plan.cut(x, start).to(device)
            logits = _logits(model, window, plan, precision, mirror_axes)
            if total is None:
                total = canvas.empty(logits.shape[0], device)
            canvas.add(total, start, logits, is_weighted=True)
            del logits
            yield WindowReport(done, len(plan))
    return total


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a network's weights are on."""
    weight = next(iter(model.parameters()), None)
    return torch.device("cpu") if weight is None else weight.device


def strongest_class(logits: Tensor) -> Tensor:
    """Return the index of the largest logit, ``(D, H, W)`` in uint8, or int16 beyond 256 classes.

    Args:
        logits: ``(K, D, H, W)``; of equal ones the first wins.
    """
    # torch.argmax over the first axis is many times slower on a CPU (pytorch#140000), and so is
    # filling by a mask: as channels ascend, the index is a running maximum too.
    best = logits[0].clone()
    dtype = torch.uint8 if logits.shape[0] <= 256 else torch.int16
    index = torch.zeros(best.shape, dtype=dtype, device=logits.device)
    for channel in range(1, len(logits)):
        is_better = (logits[channel] > best).to(dtype)
        torch.maximum(index, is_better.mul_(channel), out=index)
        torch.maximum(best, logits[channel], out=best)
    return index


def _logits(
    model: SegmentationModel,
    window: Tensor,
    plan: WindowPlan,
    precision: str,
    mirror_axes: tuple[int, ...],
) -> Tensor:
    # A suspended generator would leave these modes on for its caller, hence once per window.
    with torch.inference_mode(), precision_context(window.device, precision):
        logits = forward_window(model, window, plan)[0].float()
        for axis in mirror_axes:
            mirrored = forward_window(model, window.flip(2 + axis), plan)[0]
            logits = logits + mirrored.flip(1 + axis)
        return logits / (1 + len(mirror_axes)) if mirror_axes else logits
