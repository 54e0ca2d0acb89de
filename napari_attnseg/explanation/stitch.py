"""Maps of whole volumes, put together from the windows that a prediction uses."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.explanation.capture import in_place
from napari_attnseg.explanation.contract import INPUT, Method
from napari_attnseg.explanation.target import Target
from napari_attnseg.explanation.view import View
from napari_attnseg.inference.sliding import (
    ShouldStop,
    WindowReport,
    evaluating,
    forward_window,
    never,
)
from napari_attnseg.inference.window import WindowPlan
from napari_attnseg.models import SegmentationModel
from napari_attnseg.models.grid import MoveBack

DEGENERATE = 1e-5
"""Mean gradients below this fraction of the gradients themselves are rounding noise."""


@dataclass(frozen=True, eq=False)
class RawMap:
    """A map on a layer's grid, or on that of the network's input.

    Args:
        values: ``(d, h, w)``, raw and signed, float32 on the CPU.
        stride: Voxels of the network's grid from one value to the next.
        offset: Voxel of the network's grid at which the first value lies.
        windows: How many windows cover the volume.
        explained: How many of them met the target; only those are differentiated.
        gradient_ratio: Mean over channels of the size of the mean gradient, over the mean size
            of the gradient; near 0 where a normalisation follows the layer at once. None for
            methods without gradients of a layer.
        facts: What the method found besides, JSON-ready.
        remarks: Sentences that must be read with the map.
    """

    values: Tensor
    stride: Spacing
    offset: Spacing
    windows: int
    explained: int
    gradient_ratio: float | None
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def is_degenerate(self) -> bool:
        """Return whether the gradient cancels at this layer, and the map is rounding noise."""
        return self.gradient_ratio is not None and self.gradient_ratio < DEGENERATE


class Stitcher(View):
    """One layer of a registered network on one volume, seen through windows.

    Args:
        model: Must be evaluating.
        x: ``(1, C, D, H, W)``.
        plan: The windows.
        layer: One of the model's `layer_names`, or `INPUT`.
        target: On the grid of `x`; must not be empty.
        more: Of `View`.
    """

    def __init__(
        self,
        model: SegmentationModel,
        x: Tensor,
        plan: WindowPlan,
        layer: str,
        target: Target,
        **more: Any,
    ) -> None:
        module = model if layer == INPUT else model.layer(layer)
        super().__init__(model, module, x, plan, target, **more)
        self.network = model
        self.name = layer

    def forward(self, windows: Tensor) -> Tensor:
        return forward_window(self.network, windows, self.plan)

    def moving(self) -> AbstractContextManager[list[MoveBack]]:
        return self.network.moves()

    def in_place(self, tensor: Tensor, moves: Sequence[MoveBack]) -> Tensor:
        moved = in_place(self.network, self.name, moves, tensor)
        return self.network.unfold(moved, 1)

    def layer_grid(self, cells: Size) -> tuple[Spacing, Spacing]:
        grid = self.network.layer_grid(self.name, self.plan.window)
        return grid.stride_dhw, grid.offset_dhw


def stitched_map(
    stitcher: View, method: Method, should_stop: ShouldStop = never
) -> Generator[WindowReport, None, RawMap | None]:
    """Yield after every pass of the network, and return the map, or None if stopped.

    Windows that the target does not reach have a score, and so a gradient, of zero: they are not
    differentiated, and only run as far as the layer where a method paints them too.

    Args:
        stitcher: The network, the volume and the target.
        method: How it becomes a map.
        should_stop: Asked between passes.

    Raises:
        NotSuitedError: If what the method assumes does not hold.
    """
    if isinstance(stitcher, Stitcher):
        stitcher.layer = method.module_for(stitcher.network, stitcher.name)
    steps = method.steps(stitcher)
    done = 0
    with evaluating(stitcher.model):
        total = method.work(stitcher)
        while True:
            if should_stop():
                steps.close()
                return None
            try:
                # A suspended generator would leave a mode on for its caller, hence each time.
                with torch.inference_mode(False):
                    next(steps)
            except StopIteration as end:
                painted = end.value
                break
            done += 1
            yield WindowReport(done, total, "Explaining")
    stride, offset = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    if stitcher.canvas is not None and not method.is_input:
        stride, offset = stitcher.canvas.stride, stitcher.canvas.offset
    return RawMap(
        values=painted.values.float().cpu(),
        stride=cast("Spacing", stride),
        offset=cast("Spacing", offset),
        windows=len(stitcher.plan),
        explained=len(stitcher.starts()),
        gradient_ratio=stitcher.tally.ratio,
        facts=painted.facts,
        remarks=painted.remarks,
    )
