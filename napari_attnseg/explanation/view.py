"""A network on a volume, seen through the windows of a prediction: what methods are made of.

With ω_p the weight of window p (Gaussian, adding up to one over all windows), z_c the logit and M
the target region, the score is ``y = Σ_p y_p``, ``y_p = (1/|M|) Σ_{v∈M∩p} ω_p(v) z_c(v)``: the
mean of the stitched logits. The gradient of y_p carries ω_p already, so local maps add up as they
are; a Gaussian on top would count every voxel where windows overlap too little. Activations carry
no weight, so what is made of them alone is averaged with ω.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.explanation.capture import (
    activations_and_gradients,
    activations_only,
    changed_output,
    input_gradients,
    without_graph,
)
from napari_attnseg.explanation.target import Target
from napari_attnseg.inference.sliding import device_of, strongest_class
from napari_attnseg.inference.window import Canvas, WindowPlan
from napari_attnseg.models.grid import MoveBack

MOST_AT_ONCE = 8
VOXELS_AT_ONCE = 2**20
"""Of windows that a network sees in one batch, where the same window is asked again and again."""


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


class View(ABC):
    """A network, a volume, the windows over it, one layer and a target.

    Args:
        model: Must be evaluating.
        layer: The module whose output is looked at.
        x: ``(1, C, D, H, W)``.
        plan: The windows.
        target: On the grid of `x`; must not be empty.
        spacing: Voxel size of that grid in mm along D, H and W.
        labels: Channel of the strongest logit, ``(D, H, W)``, where it is known already.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module,
        x: Tensor,
        plan: WindowPlan,
        target: Target,
        *,
        spacing: Spacing = (1.0, 1.0, 1.0),
        labels: Tensor | None = None,
    ) -> None:
        self.model, self.layer = model, layer
        self.x, self.plan, self.target = x, plan, target
        self.spacing = spacing
        self.device = device_of(model)
        self.full = Canvas(plan)
        self.canvas: Canvas | None = None
        self.tally = Tally()
        self.keeps_activations = False
        self.notes: dict[str, Any] = {}
        """What a method works out once."""
        self._labels = labels
        self._voxels = target.voxels
        self._kept: dict[Size, Tensor] = {}
        self._room = 2 * x[0, 0].numel() * x.element_size()

    @abstractmethod
    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits ``(n, K, d, h, w)`` of windows that `cut` made, ``(n, C, ...)``."""

    @abstractmethod
    def moving(self) -> AbstractContextManager[list[MoveBack]]:
        """List what brings maps back in place that a network made of a moved input."""

    @abstractmethod
    def in_place(self, tensor: Tensor, moves: Sequence[MoveBack]) -> Tensor:
        """Return what the layer gave for one window as ``(1, C, d, h, w)`` in its place."""

    @abstractmethod
    def layer_grid(self, cells: Size) -> tuple[Spacing, Spacing]:
        """Return stride and offset of the layer in a window, in which it has so many cells."""

    @property
    def everywhere(self) -> list[Size]:
        """Return where all windows start."""
        return list(self.plan)

    def starts(self) -> list[Size]:
        """Return the windows that the target reaches into."""
        return [start for start in self.plan if bool(self._region(start).any())]

    @property
    def batch(self) -> int:
        """Return how many windows the network is given at once where there are many alike."""
        sizes = zip(self.plan.window, self.plan.margin, strict=True)
        voxels = torch.Size([n + 2 * m for n, m in sizes]).numel()
        return max(1, min(MOST_AT_ONCE, VOXELS_AT_ONCE // voxels))

    @property
    def labels(self) -> Tensor:
        """Return the channel of the strongest logit, ``(D, H, W)``."""
        if self._labels is None:
            total: Tensor | None = None
            for start in self.plan:
                with without_graph(self.device):
                    logits = self.forward(self.cut(self.x, start))[0]
                total = self.full.empty(len(logits)) if total is None else total
                self.full.add(total, start, logits, is_weighted=True)
            self._labels = strongest_class(cast("Tensor", total))
        return self._labels

    def cut(self, volume: Tensor, start: Size) -> Tensor:
        """Return a window of a volume ``(n, C, D, H, W)`` on the network's device."""
        return self.plan.cut(volume, start).to(self.device)

    def inside(self, start: Size) -> tuple[slice, slice, slice]:
        """Return the part of the volume that a window with its context sees."""
        d, h, w = (
            slice(max(0, start[a] - m), min(self.plan.size[a], start[a] + self.plan.window[a] + m))
            for a, m in enumerate(self.plan.margin)
        )
        return d, h, w

    def capture(self, start: Size) -> Capture:
        """Return activations and gradients ``(1, C, d, h, w)`` of a window."""
        weights = self.score_weights(start)
        with self.moving() as moves:
            activations, gradients = activations_and_gradients(
                lambda: self.forward(self.cut(self.x, start)),
                self.layer,
                lambda logits: self.target.score(logits, weights),
                device=self.device,
            )
        activations, gradients = (self.in_place(one, moves) for one in (activations, gradients))
        self.tally.add(gradients)
        self._keep(start, activations)
        return Capture(activations, gradients, self.weight(start, activations))

    def activations(self, start: Size) -> Tensor:
        """Return activations ``(1, C, d, h, w)`` of a window, without running what follows."""
        if start in self._kept:
            return self._kept[start].to(self.device)
        with self.moving() as moves:
            found = activations_only(
                lambda: self.forward(self.cut(self.x, start)), self.layer, device=self.device
            )
        found = self.in_place(found, moves)
        self._keep(start, found)
        return found

    def weight(self, start: Size, activations: Tensor) -> Tensor:
        """Return what a window counts for at each voxel of the layer, ``(d, h, w)``."""
        return self.grid_of(activations).weight(start).to(self.device)

    def grid_of(self, activations: Tensor) -> Canvas:
        """Return the layer's grid on the whole volume."""
        if self.canvas is None:
            cells = cast("Size", tuple(activations.shape[2:]))
            self.canvas = Canvas(self.plan, cells, *self.layer_grid(cells))
        return self.canvas

    def scores(self, start: Size, windows: Tensor) -> Tensor:
        """Return the scores ``(n,)``, float64 on the CPU, of changed contents of a window.

        Args:
            start: Of the window.
            windows: ``(n, C, ...)`` as `cut` makes them.
        """
        with without_graph(self.device):
            logits = self.forward(windows.to(self.device))
            return self._score(start, logits)

    def changed_scores(
        self, start: Size, count: int, change: Callable[[Tensor, int], None]
    ) -> Tensor:
        """Return the scores ``(count,)`` of a window after changes of the layer's output.

        Args:
            start: Of the window.
            count: How many changes.
            change: Given one output of the layer, ``(d, C, h, w)`` in a network that sees slices,
                ``(1, C, d, h, w)`` otherwise, and the number of the change; changes it in place.
        """
        window = self.cut(self.x, start)
        windows = window.expand(count, *window.shape[1:])
        with changed_output(self.layer, count, change), without_graph(self.device):
            return self._score(start, self.forward(windows))

    def gradients(self, start: Size, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the score with the input, and the scores ``(n,)``.

        Args:
            start: Of the window.
            parts: ``(n, C, d, h, w)``: contents of the part of the volume that is `inside`; so
                are the gradients.
        """
        weights = self.score_weights(start)
        beyond: list[int] = []
        for axis, part in enumerate(self.inside(start)):
            low = start[axis] - self.plan.margin[axis]
            high = start[axis] + self.plan.window[axis] + self.plan.margin[axis]
            beyond = [part.start - low, high - part.stop, *beyond]
        return input_gradients(
            lambda x: self.forward(F.pad(x, beyond, mode="replicate") if any(beyond) else x),
            parts.to(self.device),
            lambda logits: self.target.score(logits, weights),
            device=self.device,
        )

    def score_weights(self, start: Size) -> Tensor:
        """Return what a window's logits count for in the score, ``(d, h, w)``."""
        weights = self.full.weight(start)
        region = self._region(start)
        kept = tuple(slice(0, n) for n in region.shape)
        result = torch.zeros_like(weights)
        result[kept] = weights[kept] * region / self._voxels
        return result.to(self.device)

    def _score(self, start: Size, logits: Tensor) -> Tensor:
        # Small differences of these are looked at; not every device has float64.
        logits, weights = logits.cpu().double(), self.score_weights(start).cpu().double()
        return self.target.score(logits, weights)

    def _region(self, start: Size) -> Tensor:
        pairs = zip(start, self.plan.window, strict=True)
        return self.target.region[tuple(slice(at, at + n) for at, n in pairs)]

    def _keep(self, start: Size, activations: Tensor) -> None:
        """Keep activations for the next pass, as far as they take no more than two volumes."""
        size = activations.numel() * activations.element_size()
        if self.keeps_activations and start not in self._kept and size <= self._room:
            self._kept[start] = activations.cpu()
            self._room -= size


class Tally:
    """Sums that tell whether gradients cancel."""

    def __init__(self) -> None:
        self._signed: Tensor | None = None
        self._absolute = 0.0

    def add(self, gradients: Tensor) -> None:
        """Add a window's gradients, ``(1, C, d, h, w)``."""
        signed = gradients.sum(dim=(0, 2, 3, 4)).double()  # (C,)
        self._signed = signed if self._signed is None else self._signed + signed
        self._absolute += float(torch.linalg.vector_norm(gradients, ord=1))

    @property
    def ratio(self) -> float | None:
        """Mean size of the mean gradient over that of the gradient; None if there was none."""
        if self._signed is None:
            return None
        return float(self._signed.abs().sum()) / self._absolute if self._absolute else 0.0
