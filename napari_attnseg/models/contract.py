"""What every segmentation network promises, whatever it is made of.

Public tensors are ``(B, C, D, H, W)``. A network of 2 dimensions takes the slices along D as a
batch; inside it a tensor is ``(B * D, C, h, w)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.config import ModelConfig
from napari_attnseg.models.grid import Entrance, LayerGrid, MoveBack
from napari_attnseg.registry import UnknownPartError

Auxiliary = dict[str, Tensor | list[Tensor]]
"""Further outputs by name. A list holds maps as large as the network's input, which come back at
the size that the user gave; a single tensor comes back as it is."""

Criterion = Callable[[Tensor, Tensor], Tensor]


class ModelError(ValueError):
    """A network that cannot be built or used as asked; the message says why and what to do."""


class UnknownNameError(UnknownPartError, ModelError):
    """A name in a network's configuration that nothing has, such as a misspelt backbone."""


class AuxiliaryOutput(nn.Module):
    """Marks a tensor inside a network, ``(B, ...)``, that has a loss of its own.

    In training it is found in `ModelOutput.auxiliary` under the name of its module.

    Args:
        weight: Of its loss in the whole loss.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, tensor: Tensor) -> Tensor:
        return tensor

    def loss(self, tensor: Tensor, target: Tensor) -> Tensor:
        """Return a scalar.

        Args:
            tensor: What was marked.
            target: Class indices, ``(B, D, H, W)``, or ``(B, H, W)`` in 2 dimensions.
        """
        raise NotImplementedError


@dataclass
class ModelOutput:
    """What a network returns in training.

    Args:
        logits: ``(B, K, D, H, W)`` at the input's size.
        auxiliary: Further tensors that `SegmentationModel.auxiliary_loss` turns into a loss.
        parts: Scalars by name that the loss adds up to, where the network's paper names them;
            `SegmentationModel.network_loss` enters them.
    """

    logits: Tensor
    auxiliary: Auxiliary = field(default_factory=dict)
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """Facts about one layer that can be explained."""

    grid: LayerGrid
    channels: int


class MakeAttention(Protocol):
    """What a backbone is given to put attention in its places, knowing none of it."""

    def __call__(
        self,
        site: str,
        level: int,
        channels: int,
        *,
        layer: str,
        context_channels: int | None = None,
    ) -> nn.Module:
        """Return a module ``(x, context=None) -> x`` for one place; it may do nothing.

        Args:
            site: Kind of place, such as ``"skip"``.
            level: Level of the place, 0 at full resolution.
            channels: Channels of the tensor that passes.
            layer: Name of a layer on whose grid the place lies.
            context_channels: Channels of the coarser map that is passed as context.
        """


class SegmentationModel(nn.Module):
    """A network from volumes to logits of the same size.

    A backbone fills its layers with `add_layer` and defines `network`; padding, slices as a
    batch, and cropping happen here. Padding repeats the last voxels at the end of each axis, so
    that it moves no voxel.
    """

    def __init__(self, config: ModelConfig, *, size_multiple: Size = (1, 1, 1)) -> None:
        super().__init__()
        self.config = config
        self.dims = config.dims
        self.size_multiple = size_multiple
        """Input sizes are padded to multiples of this along D, H and W."""
        self.context_margin: Size = (0, 0, 0)
        """Voxels around a region that unpadded convolutions need to see to label it."""
        self.entrance: nn.Module = Entrance()
        """Where attention may sit that moves the input; see `Entrance`."""
        self.largest_rate = float("inf")
        """Learning rate above which the network may not learn, where nobody asks for another."""
        self.training_progress = 0.0
        """How far training has come, 0 to 1; whoever trains says it, for losses that fade."""
        self.layers: dict[str, Layer] = {}
        self.stages = nn.ModuleDict()

    def add_layer(self, name: str, module: nn.Module, grid: LayerGrid, channels: int) -> None:
        """Enter a block whose output can be explained, in the order of execution.

        Args:
            name: ``encoder0...``, ``bottleneck`` or ``decoderN...``; the number is the level.
            module: The block, with its normalisation, activation and attention.
            grid: Its grid within the input of `network`.
            channels: Channels of its output.
        """
        self.stages[name] = module
        self.layers[name] = Layer(grid, channels)

    @property
    def layer_names(self) -> list[str]:
        """Return the layers that can be explained, in the order of execution."""
        return list(self.layers)

    def layer(self, name: str) -> nn.Module:
        """Return the module whose output is that layer."""
        self._facts(name)
        return self.stages[name]

    def layer_grid(self, name: str, input_size: Size) -> LayerGrid:
        """Return where the voxels of a layer lie in an input of that size, before any padding.

        Where the input brings context, voxels count from the start of the part that is labelled.
        """
        grid = self._facts(name).grid
        starts = zip(grid.offset_dhw, self.context_margin, strict=True)
        offset = cast("Spacing", tuple(start - margin for start, margin in starts))
        return LayerGrid(grid.stride_dhw, offset, grid.field_dhw)

    def network(self, x: Tensor) -> tuple[Tensor, Auxiliary]:
        """Return logits and auxiliary tensors of a padded and, in 2 dimensions, folded input."""
        raise NotImplementedError

    def forward(self, x: Tensor, *, has_context: bool = False) -> Tensor | ModelOutput:
        """Return logits of the input's size in evaluation, a `ModelOutput` in training.

        Args:
            x: ``(B, C, D, H, W)`` of any spatial size.
            has_context: Whether `x` already holds `context_margin` voxels of image on every
                side; then the logits are those of its inner part.
        """
        self._check_input(x)
        margin = self.context_margin
        batch, size = x.shape[0], cast("Size", tuple(x.shape[2:]))
        if has_context:
            size = cast("Size", tuple(n - 2 * m for n, m in zip(size, margin, strict=True)))
        seen, move_back = self.entrance(
            self.fold(self._pad(x, (0, 0, 0) if has_context else margin))
        )
        inner = LayerGrid(offset_dhw=cast("Spacing", tuple(map(float, margin))))

        def finish(tensor: Tensor) -> Tensor:
            d, h, w = size
            return self.unfold(move_back(tensor, inner), batch)[:, :, :d, :h, :w]

        if not self.training:
            return finish(self.network(seen)[0])
        with self._marked() as marked:
            logits, auxiliary = self.network(seen)
        finished: Auxiliary = {
            name: [finish(one) for one in value] if isinstance(value, list) else value
            for name, value in auxiliary.items()
        }
        return ModelOutput(finish(logits), finished | marked)

    def auxiliary_loss(self, output: ModelOutput, target: Tensor, criterion: Criterion) -> Tensor:
        """Return the whole loss of a training output: that of the logits and of all else.

        Args:
            output: What `forward` returned in training.
            target: Class indices ``(B, D, H, W)``.
            criterion: From logits and target to a scalar.
        """
        loss = self.network_loss(output, target, criterion)
        folded = target.flatten(0, 1) if self.dims == 2 else target  # (B * D, H, W)
        for name, one in self._markers():
            if name in output.auxiliary:
                tensor = cast("Tensor", output.auxiliary[name])
                loss = loss + one.weight * one.loss(tensor, folded)
        return loss

    def network_loss(self, output: ModelOutput, target: Tensor, criterion: Criterion) -> Tensor:
        """Return the loss of the logits and of what `network` returned beside them.

        A backbone with auxiliary tensors says here what they cost; `auxiliary_loss` adds what
        its attention modules have learn.
        """
        return criterion(output.logits, target)

    @contextmanager
    def moves(self) -> Iterator[list[MoveBack]]:
        """List, for each forward pass in this context, what brings its maps back in place."""
        found: list[MoveBack] = []
        hook = self.entrance.register_forward_hook(lambda *args: found.append(args[-1][1]))
        try:
            yield found
        finally:
            hook.remove()

    def fold(self, x: Tensor) -> Tensor:
        """Return slices as a batch, ``(B * D, C, H, W)``, in a network of 2 dimensions."""
        if self.dims == 3:
            return x
        return x.transpose(1, 2).flatten(0, 1)  # (B * D, C, H, W)

    def unfold(self, tensor: Tensor, batch: int) -> Tensor:
        """Return a tensor of slices ``(B * D, C, h, w)`` as ``(B, C, D, h, w)``, others as is."""
        if tensor.ndim != 4:
            return tensor
        return tensor.unflatten(0, (batch, -1)).transpose(1, 2)  # (B, C, D, h, w)

    def _markers(self) -> list[tuple[str, AuxiliaryOutput]]:
        named = self.named_modules()
        return [(name, one) for name, one in named if isinstance(one, AuxiliaryOutput)]

    @contextmanager
    def _marked(self) -> Iterator[Auxiliary]:
        found: Auxiliary = {}
        handles: list[Any] = []
        for name, one in self._markers():

            def keep(_: nn.Module, args: Any, tensor: Tensor, name: str = name) -> None:
                found[name] = tensor

            handles.append(one.register_forward_hook(keep))
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()

    def _pad(self, x: Tensor, margin: Size) -> Tensor:
        pads: list[int] = []
        for size, around, multiple in zip(x.shape[2:], margin, self.size_multiple, strict=True):
            pads = [around, around + -(size + 2 * around) % multiple, *pads]
        return F.pad(x, pads, mode="replicate") if any(pads) else x

    def _check_input(self, x: Tensor) -> None:
        if x.ndim != 5:
            raise ModelError(
                f"The input has shape {tuple(x.shape)}; give (batch, channels, D, H, W)."
            )
        if x.shape[1] != self.config.in_channels:
            raise ModelError(
                f"The input has {x.shape[1]} channels, but this network was built for "
                f"{self.config.in_channels}; give it the images it was trained with."
            )

    def _facts(self, name: str) -> Layer:
        if name not in self.layers:
            raise ModelError(
                f"There is no layer named {name!r}; this network has {', '.join(self.layers)}."
            )
        return self.layers[name]
