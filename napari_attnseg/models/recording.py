"""Attention maps leave a network through markers, which do nothing unless someone records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL, Size
from napari_attnseg.models.contract import ModelError, SegmentationModel
from napari_attnseg.models.sites import AttentionSite

KINDS = ("channel", "spatial", "slice", "axis", "radix", "affinity", "transform", "position")
TABLE_KINDS = ("radix", "affinity", "transform")
"""Kinds whose tensors have no place in the image at all."""
VOLUME_KINDS = ("spatial", "slice", "axis")
"""Kinds that can be shown on the image; the others are numbers or rows."""


class AttentionMap(nn.Module):
    """Marks the place in an attention module where a map can be seen.

    The tensors of kinds channel, spatial, slice and axis broadcast over the tensor that the
    module attends to: ``(B, C, 1, 1, 1)``, ``(B, 1, d, h, w)``, ``(B, C, d, 1, 1)``... A position
    marker is given query and key, ``(B, c, d, h, w)`` each, and no N x N matrix is made; the key
    may be coarser. Radix is ``(B, R, C)``, affinity ``(B, C, C)`` and transform
    ``(B, dims, dims + 1)``.

    Args:
        kind: One of `KINDS`.
        name: What tells the markers of one module apart; the kind when empty.
        bounds: Smallest and largest value that the map can have, where there are such.
    """

    def __init__(
        self, kind: str, name: str = "", bounds: tuple[float, float] | None = (0.0, 1.0)
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of attention map; use {', '.join(KINDS)}.")
        self.kind = kind
        self.name = name or kind
        self.bounds = bounds

    @property
    def is_recording(self) -> bool:
        """Return whether someone looks, so that what only serves to be seen may be computed."""
        return bool(self._forward_hooks)

    def forward(self, tensor: Tensor, *others: Tensor) -> Tensor:
        return tensor

    def extra_repr(self) -> str:
        return self.name


@dataclass(frozen=True)
class RecordedMap:
    """One attention map of one forward pass.

    Args:
        name: Place, module and marker, such as ``"encoder0.se.channel"``.
        kind: One of `KINDS`.
        layer: Name of the layer on whose grid the map lies.
        tensor: As the marker was given it, with the slices of a 2-D network unfolded:
            ``(B, C, D, h, w)``. Channel weights are ``(B, C, 1, 1, 1)``, or
            ``(B, C, D, 1, 1)`` in a 2-D network; radix, affinity and transform have a first axis
            of slices there, ``(B, D, ...)``.
        bounds: Smallest and largest value that the map can have, or None.
        size: Voxels along D, H and W of the tensor that was attended to.
        key: Of the position kind, whose `tensor` is the query.
        dims: Of the network: a voxel of a 2-D network only attends to its own slice.
    """

    name: str
    kind: str
    layer: str
    tensor: Tensor
    bounds: tuple[float, float] | None
    size: Size
    key: Tensor | None = None
    dims: int = 3

    def volume(self) -> Tensor:
        """Return the mean over channels on the layer's grid, ``(B, 1, d, h, w)``.

        Raises:
            ModelError: If this kind of map is no volume.
        """
        if self.kind not in VOLUME_KINDS:
            raise ModelError(f"{self.name} is of kind {self.kind}, which is not a volume.")
        mean = self.tensor.mean(dim=CHANNEL, keepdim=True)
        return mean.expand(-1, -1, *self.size)

    def numbers(self) -> Tensor:
        """Return the mean over slices and voxels.

        One number per channel, ``(B, C)``; for kinds radix, affinity and transform as they are.
        """
        if self.kind in TABLE_KINDS:
            return self.tensor.mean(dim=1) if self.dims == 2 else self.tensor
        return self.tensor.flatten(2).mean(dim=2)

    def row(self, voxel_dhw: Size) -> Tensor:
        """Return what one voxel of the layer attends to, ``(B, 1, d, h, w)``, which sums to 1.

        Where keys are coarser than the layer, so is this; it covers the same box.

        Raises:
            ModelError: If this is not a map of the position kind.
        """
        if self.key is None:
            raise ModelError(f"{self.name} is of kind {self.kind}, which has no rows.")
        d, h, w = voxel_dhw
        seen = self.key if self.dims == 3 else self.key[:, :, d : d + 1]
        energy = torch.einsum("bc,bcn->bn", self.tensor[:, :, d, h, w], seen.flatten(2))
        row = energy.softmax(dim=1).unflatten(1, (1, *seen.shape[2:]))
        if self.dims == 3:
            return row
        others = self.key.shape[2] - d - 1
        return F.pad(row, (0, 0, 0, 0, d, others))  # (B, 1, D, h, w)


@contextmanager
def record(model: SegmentationModel) -> Iterator[list[RecordedMap]]:
    """Record the attention maps of each forward pass in this context, in the order of execution.

    Nothing is kept on the model, and its outputs are unchanged.

    Args:
        model: A network, or one whose attention has been replaced by the identity.

    Yields:
        A list that forward passes append to.
    """
    recorded: list[RecordedMap] = []
    batch = [1]
    handles: list[Any] = [
        model.register_forward_pre_hook(lambda _, args: batch.__setitem__(0, args[0].shape[0]))
    ]
    for site in model.modules():
        if isinstance(site, AttentionSite):
            handles += _watch(site, model, batch, recorded)
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _watch(
    site: AttentionSite, model: SegmentationModel, batch: list[int], recorded: list[RecordedMap]
) -> list[Any]:
    size: list[Size] = [(1, 1, 1)]

    def unfolded(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().float()
        if model.dims == 2 and tensor.ndim == 3:
            return tensor.unflatten(0, (batch[0], -1))
        return model.unfold(tensor, batch[0])

    def note_size(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        size[0] = cast("Size", tuple(model.unfold(args[0], batch[0]).shape[2:]))

    def keep(marker: nn.Module, args: tuple[Tensor, ...], _: Tensor) -> None:
        marked = cast("AttentionMap", marker)
        recorded.append(
            RecordedMap(
                name=f"{site.name}.{site.attention}.{marked.name}",
                kind=marked.kind,
                layer=site.layer,
                tensor=unfolded(args[0]),
                bounds=marked.bounds,
                size=size[0],
                key=unfolded(args[1]) if len(args) > 1 else None,
                dims=model.dims,
            )
        )

    markers = [one for one in site.modules() if isinstance(one, AttentionMap)]
    return [
        site.register_forward_pre_hook(note_size),
        *(marker.register_forward_hook(keep) for marker in markers),
    ]
