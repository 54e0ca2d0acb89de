"""Explain one window of any network, without geometry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.explanation.capture import as_logits, in_place
from napari_attnseg.explanation.catalogue import DEFAULT_METHOD, make_method
from napari_attnseg.explanation.contract import ExplainError, Method
from napari_attnseg.explanation.stitch import stitched_map
from napari_attnseg.explanation.target import Target, require_mask
from napari_attnseg.explanation.view import View
from napari_attnseg.inference.window import WindowPlan
from napari_attnseg.models import SegmentationModel
from napari_attnseg.models.grid import MoveBack


class WholeView(View):
    """Any network on one input, which is one window.

    Args:
        model: Its first output is the logits.
        layer: The module whose output is looked at.
        x: ``(1, C, D, H, W)``; D is 1 where the network takes pictures.
        target: On the grid of `x`.
        is_picture: Whether the network takes ``(B, C, H, W)``.
    """

    def __init__(
        self, model: nn.Module, layer: nn.Module, x: Tensor, target: Target, *, is_picture: bool
    ) -> None:
        size = cast("Size", tuple(x.shape[2:]))
        ours = model if isinstance(model, SegmentationModel) else None
        flat = ours is not None and ours.dims == 2
        plan = WindowPlan(size, size, ((0,), (0,), (0,)), is_flat=flat)
        super().__init__(model, layer, x, plan, target)
        self.is_picture, self.ours = is_picture, ours

    def forward(self, windows: Tensor) -> Tensor:
        if self.is_picture:
            return as_logits(self.model(windows[:, :, 0])).unsqueeze(2)
        return as_logits(self.model(windows))

    @contextmanager
    def moving(self) -> Iterator[list[MoveBack]]:
        if self.ours is None:
            yield []
            return
        with self.ours.moves() as moves:
            yield moves

    def in_place(self, tensor: Tensor, moves: Sequence[MoveBack]) -> Tensor:
        if self.ours is not None:
            return self.ours.unfold(in_place(self.ours, self._name, moves, tensor), 1)
        return tensor.unsqueeze(2) if self.is_picture else tensor

    def layer_grid(self, cells: Size) -> tuple[Spacing, Spacing]:
        if self.ours is not None and self._name in self.ours.layers:
            grid = self.ours.layer_grid(self._name, self.plan.size)
            return grid.stride_dhw, grid.offset_dhw
        stride = tuple(n / k for n, k in zip(self.plan.size, cells, strict=True))
        return cast("Spacing", stride), cast("Spacing", tuple((s - 1) / 2 for s in stride))

    @property
    def _name(self) -> str:
        names = self.ours.layer_names if self.ours else []
        layers = (name for name in names if self.ours and self.ours.layer(name) is self.layer)
        return next(layers, "")


def explain_tensor(  # noqa: PLR0913 - each is a choice of the caller
    model: nn.Module,
    x: Tensor,
    mask: Tensor,
    class_index: int | Sequence[int] = 1,
    method: str = DEFAULT_METHOD,
    layer: str | nn.Module | None = None,
    *,
    reduction: str = "mean",
    options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Return the raw, signed map of one window, ``(B, 1, d, h, w)``, on the layer's own grid.

    Args:
        model: Left as it was found; any network whose first output is the logits.
        x: ``(B, C, D, H, W)``, or ``(B, C, H, W)`` for a network that takes pictures; then maps
            are ``(B, 1, h, w)``.
        mask: Boolean, the region that is explained: of the input's size, or one per sample.
        class_index: Network channel, or one per sample.
        method: One of `METHODS`.
        layer: One of the network's `layer_names`, a dotted module name, or the module.
        reduction: ``"mean"`` of the logits in the region, or their ``"sum"``.
        options: Of the method, by name.

    Raises:
        ExplainError: If the layer or the method does not exist, the mask does not fit, or the
            method assumes what does not hold.
    """
    if reduction not in ("mean", "sum"):
        raise ExplainError(f"The reduction is {reduction!r}; use mean or sum.")
    how = make_method(method, options)
    module = _module(model, layer, how)
    masks = require_mask(mask, x)
    classes = [class_index] * len(x) if isinstance(class_index, int) else list(class_index)
    is_picture = x.ndim == 4
    with torch.inference_mode(False):
        maps = []
        for sample, index in enumerate(classes):
            one, region = x[sample : sample + 1].detach(), masks[sample].cpu()
            if is_picture:
                one, region = one.unsqueeze(2), region.unsqueeze(0)
            factor = float(region.sum()) if reduction == "sum" else 1.0
            target = Target(region, {index: factor})
            view = WholeView(model, module, one, target, is_picture=is_picture)
            values = _finished(view, how)[None, None]
            maps.append(values[:, :, 0] if is_picture else values)
        return torch.cat(maps)


def _finished(view: View, method: Method) -> Tensor:
    steps = stitched_map(view, method)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Tensor", end.value.values)


def _module(model: nn.Module, layer: str | nn.Module | None, how: Method) -> nn.Module:
    if isinstance(layer, nn.Module):
        return layer
    if how.is_input:
        return model
    names = [name for name, _ in model.named_children()]
    if isinstance(model, SegmentationModel):
        names = model.layer_names
        if layer is None or layer in names:
            return how.module_for(model, how.layer_for(model, layer))
    try:
        return model.get_submodule(layer or "")
    except AttributeError as error:
        raise ExplainError(
            f"There is no layer {layer!r} to explain; this network has {', '.join(names)}."
        ) from error
