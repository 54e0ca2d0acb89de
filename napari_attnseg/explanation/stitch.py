"""Maps of whole volumes, put together from the windows that a prediction uses.

With ω_p the weight of window p (Gaussian, adding up to one over all windows), z_c the logit and M
the target region, the score is ``y = Σ_p y_p``, ``y_p = (1/|M|) Σ_{v∈M∩p} ω_p(v) z_c(v)``: the
mean of the stitched logits. The gradient of y_p carries ω_p already, so local maps add up as they
are; a Gaussian on top would count every voxel where windows overlap too little. Activations carry
no weight, so the maps of weighted methods are averaged with ω.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.explanation.capture import (
    activations_and_gradients,
    activations_only,
    in_place,
)
from napari_attnseg.explanation.contract import (
    Capture,
    LocalMethod,
    Method,
    WeightedMethod,
    weighted_sum,
)
from napari_attnseg.explanation.target import Target
from napari_attnseg.inference.sliding import (
    ShouldStop,
    WindowReport,
    device_of,
    evaluating,
    forward_window,
    never,
)
from napari_attnseg.inference.window import Canvas, WindowPlan
from napari_attnseg.models import SegmentationModel
from napari_attnseg.models.grid import MoveBack

DEGENERATE = 1e-5
"""Mean gradients below this fraction of the gradients themselves are rounding noise."""


@dataclass(frozen=True, eq=False)
class RawMap:
    """A map on a layer's grid.

    Args:
        values: ``(d, h, w)``, raw and signed, float32 on the CPU.
        stride: Voxels of the network's grid from one value to the next.
        offset: Voxel of the network's grid at which the first value lies.
        windows: How many windows cover the volume.
        explained: How many of them met the target and were differentiated.
        gradient_ratio: Mean over channels of the size of the mean gradient, over the mean size
            of the gradient; near 0 where a normalisation follows the layer at once.
    """

    values: Tensor
    stride: Spacing
    offset: Spacing
    windows: int
    explained: int
    gradient_ratio: float

    @property
    def is_degenerate(self) -> bool:
        """Return whether the gradient cancels at this layer, and the map is rounding noise."""
        return self.gradient_ratio < DEGENERATE


class Stitcher:
    """One layer of a network on one volume, seen through the windows of a prediction.

    Args:
        model: Must be evaluating.
        x: ``(1, C, D, H, W)``.
        plan: The windows.
        layer: One of the model's `layer_names`.
        target: On the grid of `x`; must not be empty.
    """

    def __init__(
        self, model: SegmentationModel, x: Tensor, plan: WindowPlan, layer: str, target: Target
    ) -> None:
        self.model = model
        self.x = x
        self.plan = plan
        self.name = layer
        self.layer = model.layer(layer)
        self.target = target
        self.device = device_of(model)
        self.canvas: Canvas | None = None
        self._full = Canvas(plan)
        self._voxels = target.voxels

    def starts(self) -> list[Size]:
        """Return the windows that the target reaches into."""
        return [start for start in self.plan if bool(self._region(start).any())]

    def capture(self, start: Size) -> Capture:
        """Return activations and gradients ``(1, C, d, h, w)`` of a window."""
        window = self.plan.cut(self.x, start).to(self.device)
        weights = self._full.weight(start).clone()
        kept = tuple(slice(0, n) for n in self._region(start).shape)
        score_weights = torch.zeros_like(weights)
        score_weights[kept] = weights[kept] * self._region(start) / self._voxels
        score_weights = score_weights.to(self.device)
        with self.model.moves() as moves:
            activations, gradients = activations_and_gradients(
                lambda: forward_window(self.model, window, self.plan),
                self.layer,
                lambda logits: self.target.score(logits, score_weights),
                device=self.device,
            )
        return self._captured(start, activations, gradients, moves)

    def activations(self, start: Size) -> Capture:
        """Return activations of a window; its gradients are zero."""
        window = self.plan.cut(self.x, start).to(self.device)
        with self.model.moves() as moves:
            activations = activations_only(
                lambda: forward_window(self.model, window, self.plan),
                self.layer,
                device=self.device,
            )
        return self._captured(start, activations, torch.zeros(()).expand_as(activations), moves)

    def _region(self, start: Size) -> Tensor:
        pairs = zip(start, self.plan.window, strict=True)
        return self.target.region[tuple(slice(at, at + n) for at, n in pairs)]

    def _captured(
        self, start: Size, activations: Tensor, gradients: Tensor, moves: Sequence[MoveBack]
    ) -> Capture:
        activations, gradients = (
            self.model.unfold(in_place(self.model, self.layer, moves, one), 1)
            for one in (activations, gradients)
        )
        if self.canvas is None:
            grid = self.model.layer_grid(self.name, self.plan.window)
            cells = cast("Size", tuple(activations.shape[2:]))
            self.canvas = Canvas(self.plan, cells, grid.stride_dhw, grid.offset_dhw)
        weights = self.canvas.weight(start).to(self.device)
        return Capture(activations, gradients, weights)


def stitched_map(
    stitcher: Stitcher, method: Method, should_stop: ShouldStop = never
) -> Generator[WindowReport, None, RawMap | None]:
    """Yield after every window, and return the map of the whole volume, or None if stopped.

    Windows that the target does not reach have a score, and so a gradient, of zero: they are not
    differentiated, and only run as far as the layer where a method paints them too.

    Args:
        stitcher: The network, the volume and the target.
        method: How activations and gradients become a map.
        should_stop: Asked between windows.
    """
    starts = stitcher.starts()
    tally = _Tally()
    with evaluating(stitcher.model):
        if isinstance(method, LocalMethod):
            total = yield from _local(stitcher, method, starts, tally, should_stop)
        else:
            weighted = cast("WeightedMethod", method)
            total = yield from _weighted(stitcher, weighted, starts, tally, should_stop)
    if total is None:
        return None
    canvas = cast("Canvas", stitcher.canvas)
    return RawMap(
        values=total[0].cpu(),
        stride=canvas.stride,
        offset=canvas.offset,
        windows=len(stitcher.plan),
        explained=len(starts),
        gradient_ratio=tally.ratio,
    )


class _Tally:
    """Sums that tell whether gradients cancel."""

    def __init__(self) -> None:
        self.signed: Tensor | None = None
        self.absolute = 0.0

    def add(self, gradients: Tensor) -> None:
        signed = gradients.sum(dim=(0, 2, 3, 4)).double()  # (C,)
        self.signed = signed if self.signed is None else self.signed + signed
        self.absolute += float(torch.linalg.vector_norm(gradients, ord=1))

    @property
    def ratio(self) -> float:
        if self.signed is None or self.absolute == 0:
            return 0.0
        return float(self.signed.abs().sum()) / self.absolute


_Steps = Generator[WindowReport, None, Tensor | None]


def _local(
    stitcher: Stitcher,
    method: LocalMethod,
    starts: list[Size],
    tally: _Tally,
    should_stop: ShouldStop,
) -> _Steps:
    total: Tensor | None = None
    for done, start in enumerate(starts, start=1):
        if should_stop():
            return None
        capture = stitcher.capture(start)
        tally.add(capture.gradients)
        canvas = cast("Canvas", stitcher.canvas)
        if total is None:
            total = canvas.empty(1)
        canvas.add(total, start, method.one_window(capture)[0], is_weighted=False)
        del capture
        yield WindowReport(done, len(starts), "Explaining")
    return total


def _weighted(
    stitcher: Stitcher,
    method: WeightedMethod,
    starts: list[Size],
    tally: _Tally,
    should_stop: ShouldStop,
) -> _Steps:
    steps = _count(len(starts) + len(stitcher.plan))
    sums: Tensor | None = None
    for start in starts:
        if should_stop():
            return None
        capture = stitcher.capture(start)
        tally.add(capture.gradients)
        part = method.sums(capture)
        sums = part if sums is None else sums + part
        del capture
        yield next(steps)
    canvas = cast("Canvas", stitcher.canvas)
    d, h, w = canvas.size
    weights = method.channel_weights(cast("Tensor", sums), d * h * w)
    total = canvas.empty(1)
    for start in stitcher.plan:
        if should_stop():
            return None
        seen = stitcher.activations(start)
        canvas.add(total, start, weighted_sum(weights, seen.activations)[0], is_weighted=True)
        yield next(steps)
    return total


def _count(total: int) -> Iterator[WindowReport]:
    return (WindowReport(done, total, "Explaining") for done in range(1, total + 1))
