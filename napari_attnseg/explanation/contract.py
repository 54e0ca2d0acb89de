"""What a method of explanation is: how a network that is asked by windows becomes a map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.config import Config
from napari_attnseg.explanation.error import ExplainError as ExplainError
from napari_attnseg.explanation.error import NotSuitedError as NotSuitedError
from napari_attnseg.explanation.layers import check_layer, layer_remark
from napari_attnseg.explanation.view import Capture as Capture
from napari_attnseg.explanation.view import View
from napari_attnseg.inference.window import Canvas
from napari_attnseg.models import SegmentationModel
from napari_attnseg.registry import Registry

METHODS: Registry[type[Method]] = Registry(
    "explanation method", "napari_attnseg.explanation.methods"
)

Result = TypeVar("Result")
Work = Generator[None, None, Result]
"""Yields each time the network has run, and returns its result."""

INPUT = "input"
"""Stands for a layer's name where a map lies on the voxels that the network is given."""


@dataclass(frozen=True)
class NoOptions(Config):
    """A method without options."""


@dataclass(frozen=True, eq=False)
class Painted:
    """What a method has to say.

    Args:
        values: Raw and signed, ``(d, h, w)``, on the layer's or the input's grid.
        facts: JSON-ready numbers for the record.
        remarks: Sentences that must be read with the map.
    """

    values: Tensor
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class Method(ABC):
    """A way of explaining; the first line of its docstring is the tooltip.

    A method asks a `View` of the network, window by window, and never sees more than a window at
    once. The parts of the score add up over windows, and so does all that is linear in them.
    """

    title: ClassVar[str]
    Options: ClassVar[type[Config]] = NoOptions
    is_input: ClassVar[bool] = False

    def __init__(self, **options: Any) -> None:
        self.options: Any = self.Options.from_dict(options)

    def layer_for(self, model: SegmentationModel, layer: str | None) -> str:
        """Return the name of the layer that the map is of.

        Raises:
            ExplainError: If the network has no such layer, or the method cannot use it.
        """
        return check_layer(model, layer)

    def layer_remark(self, layer: str) -> str:
        """Return what to know about maps of a layer, or an empty string."""
        return layer_remark(layer)

    def module_for(self, model: SegmentationModel, layer: str) -> torch.nn.Module:
        """Return the module of the network whose output is looked at."""
        return model.layer(layer)

    @abstractmethod
    def work(self, view: View) -> int:
        """Return how often `steps` yields."""

    @abstractmethod
    def steps(self, view: View) -> Work[Painted]:
        """Yield each time the network has run, and return the map of the whole volume.

        Raises:
            NotSuitedError: If what the method assumes does not hold.
        """


class LocalMethod(Method):
    """A method whose value at a voxel depends on that voxel only; maps of windows add up."""

    @abstractmethod
    def one_window(self, capture: Capture) -> Tensor:
        """Return the raw, signed map ``(B, 1, d, h, w)`` of a window that is the whole volume."""

    def work(self, view: View) -> int:
        return len(view.starts())

    def steps(self, view: View) -> Work[Painted]:
        return add_up(view, self.one_window)


class TwoPassMethod(Method):
    """A method that first finds one set of channel weights for the whole volume, then applies it.

    Weights of each window's own would give maps that do not belong together. The second pass
    paints windows that the target does not reach too: the same features are there.
    """

    remarks: tuple[str, ...] = ()

    @abstractmethod
    def weights_work(self, view: View) -> int:
        """Return how often `weights` yields."""

    @abstractmethod
    def weights(self, view: View) -> Work[Tensor]:
        """Return a weight per channel, ``(C,)``, or one at each voxel, ``(C, d, h, w)``."""

    def facts(self) -> dict[str, Any]:
        """Return what `weights` found besides, JSON-ready."""
        return {}

    def work(self, view: View) -> int:
        return self.weights_work(view) + len(view.plan)

    def steps(self, view: View) -> Work[Painted]:
        view.keeps_activations = True
        weights = yield from self.weights(view)
        total: Tensor | None = None
        for start in view.everywhere:
            activations = view.activations(start)
            canvas = view.grid_of(activations)
            total = canvas.empty(1) if total is None else total
            here = weights if weights.ndim == 1 else cut_field(canvas, weights, start)
            painted = weighted_sum(here[None].to(activations), activations)
            canvas.add(total, start, painted[0], is_weighted=True)
            yield
        return Painted(cast("Tensor", total)[0], self.facts(), self.remarks)


class WeightedMethod(TwoPassMethod):
    """A method whose channel weights come from sums that add up over windows."""

    needs_everywhere: ClassVar[bool] = False
    """Whether windows that the target does not reach count; their gradient is zero."""

    @abstractmethod
    def sums(self, capture: Capture) -> Tensor:
        """Return what adds up over windows, ``(S, C)``."""

    @abstractmethod
    def channel_weights(self, sums: Tensor, voxels: int) -> Tensor:
        """Return a weight per channel, ``(C,)``.

        Args:
            sums: Of all windows together, ``(S, C)``.
            voxels: Of the layer on the whole volume.
        """

    def weights_work(self, view: View) -> int:
        return len(view.plan) if self.needs_everywhere else len(view.starts())

    def weights(self, view: View) -> Work[Tensor]:
        sums: Tensor | None = None
        reached = set(view.starts())
        for start in view.everywhere if self.needs_everywhere else view.starts():
            capture = view.capture(start) if start in reached else untouched(view, start)
            part = self.sums(capture)
            sums = part if sums is None else sums + part
            del capture
            yield
        d, h, w = cast("Canvas", view.canvas).size
        return self.channel_weights(cast("Tensor", sums), d * h * w)


class FieldMethod(TwoPassMethod):
    """A method that is not linear in the gradient, and so needs that of the whole volume.

    The gradients of all windows add up to it. It is kept for all channels of the layer.
    """

    @abstractmethod
    def field_weights(self, gradients: Tensor, activations: Tensor, lowest: float) -> Tensor:
        """Return a weight per channel, ``(C,)``, or one at each voxel, ``(C, d, h, w)``.

        Args:
            gradients: Of the whole volume, ``(C, d, h, w)``.
            activations: Sum over the whole volume of each channel, ``(C,)``.
            lowest: Least activation that was seen.

        Raises:
            NotSuitedError: If what the method assumes does not hold.
        """

    def weights_work(self, view: View) -> int:
        return len(view.plan)

    def weights(self, view: View) -> Work[Tensor]:
        gradients: Tensor | None = None
        sums, lowest, reached = torch.zeros(()), float("inf"), set(view.starts())
        for start in view.everywhere:
            capture = view.capture(start) if start in reached else untouched(view, start)
            canvas = view.grid_of(capture.activations)
            if gradients is None:
                gradients = canvas.empty(capture.activations.shape[1])
            if start in reached:
                canvas.add(gradients, start, capture.gradients[0], is_weighted=False)
            sums = sums + activation_sums(capture).cpu()
            lowest = min(lowest, float(capture.activations.min()))
            del capture
            yield
        return self.field_weights(cast("Tensor", gradients), sums, lowest)


class InputMethod(Method):
    """A method whose map lies on the voxels that the network is given."""

    is_input = True

    def layer_for(self, model: SegmentationModel, layer: str | None) -> str:
        return INPUT

    def layer_remark(self, layer: str) -> str:
        return ""

    def module_for(self, model: SegmentationModel, layer: str) -> torch.nn.Module:
        return model


def add_up(view: View, one_window: Callable[[Capture], Tensor]) -> Work[Painted]:
    """Yield after every window that the target reaches, and return the sum of their maps.

    Args:
        view: The network.
        one_window: From a window to its map, ``(1, 1, d, h, w)``.
    """
    total: Tensor | None = None
    for start in view.starts():
        capture = view.capture(start)
        canvas = view.grid_of(capture.activations)
        total = canvas.empty(1) if total is None else total
        canvas.add(total, start, one_window(capture)[0], is_weighted=False)
        del capture
        yield
    return Painted(cast("Tensor", total)[0])


def untouched(view: View, start: Size) -> Capture:
    """Return a window that the target does not reach; its gradients are zero."""
    activations = view.activations(start)
    gradients = torch.zeros((), device=activations.device).expand_as(activations)
    return Capture(activations, gradients, view.weight(start, activations))


def activation_sums(capture: Capture) -> Tensor:
    """Return a window's part of the sum of each channel over the whole volume, ``(C,)``."""
    return (capture.activations[0] * capture.weights).sum(dim=(1, 2, 3))


def cut_field(canvas: Canvas, values: Tensor, start: Size) -> Tensor:
    """Return the part of values ``(C, d, h, w)`` of a whole layer that a window has."""
    first = [round(at / stride) for at, stride in zip(start, canvas.stride, strict=True)]
    d, h, w = (slice(at, at + n) for at, n in zip(first, canvas.cells, strict=True))
    return values[:, d, h, w]


def weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """Return channels ``(B, C, d, h, w)`` times their weights, summed: ``(B, 1, d, h, w)``.

    Args:
        weights: ``(B, C)``, or with the axes of the activations.
        activations: ``(B, C, d, h, w)``.
    """
    if weights.ndim == activations.ndim:
        return (weights * activations).sum(dim=1, keepdim=True)
    # A product of matrices makes no temporary of all channels.
    return (weights[:, None, :] @ activations.flatten(2)).unflatten(2, activations.shape[2:])
