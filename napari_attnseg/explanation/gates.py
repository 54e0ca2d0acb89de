"""What attention modules do to what passes them, and networks in which they do something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_attnseg.models import SegmentationModel
from napari_attnseg.models.grid import stay
from napari_attnseg.models.recording import AttentionMap
from napari_attnseg.models.sites import AttentionSite

UNUSED = 1e-3
"""A module that changes what passes by less than this fraction of it does nothing."""

WAYS = ("with_mean", "with_identity")


@dataclass(frozen=True, eq=False)
class Passed:
    """What passed an attention module in one forward pass.

    Args:
        taken: What went in, ``(B, C, *sizes)``.
        given: What came out, of the same shape.
    """

    taken: Tensor
    given: Tensor


def attention_sites(model: SegmentationModel) -> list[AttentionSite]:
    """Return the places of a network where attention sits, in no particular order."""
    modules = model.modules()
    return [one for one in modules if isinstance(one, AttentionSite) and one.module is not None]


@contextmanager
def passing(
    model: SegmentationModel, note: Callable[[AttentionSite, Passed], None]
) -> Iterator[None]:
    """Call back in each forward pass with what passed each attention module."""

    def hook(site: AttentionSite) -> Any:
        def heard(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            # The place before a network also gives what brings its maps back.
            given = output[0] if isinstance(output, tuple) else output
            note(site, Passed(args[0].detach(), given.detach()))

        return heard

    handles = [site.register_forward_hook(hook(site)) for site in attention_sites(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced(site: AttentionSite, way: str, *, by_sigmoid: bool = False) -> Iterator[None]:
    """Let an attention module do something else in this context.

    Args:
        site: The place where it sits.
        way: ``"with_identity"`` lets everything pass as it is. ``"with_mean"`` replaces each gate
            by its mean, and weights that sum to one by equal ones: what the module does on the
            whole stays, but it tells nothing apart.
        by_sigmoid: Whether gates are taken where sigmoids make them, for modules that use
            theirs without showing them.
    """
    if way == "with_identity":
        handles = [site.register_forward_hook(_pass)]
    elif by_sigmoid:
        sigmoids = [one for one in site.modules() if isinstance(one, nn.Sigmoid)]
        handles = [one.register_forward_hook(lambda _m, _a, out: _mean(out)) for one in sigmoids]
    else:
        markers = [one for one in site.modules() if isinstance(one, AttentionMap)]
        handles = [one.register_forward_hook(_level) for one in markers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pass(site: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return (args[0], stay) if isinstance(output, tuple) else args[0]


def _level(marker: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Return weights that tell nothing apart, in place of those that passed a marker."""
    kind = getattr(marker, "kind", "")
    if kind == "position":
        return torch.zeros_like(output)  # of the query: all keys fit it alike
    if kind in ("affinity", "radix"):
        return output.mean(dim=1 if kind == "radix" else 2, keepdim=True).expand_as(output)
    return output if kind == "transform" else _mean(output)


def _mean(gate: Tensor) -> Tensor:
    """Return the mean of each sample everywhere."""
    return gate.mean(dim=tuple(range(1, gate.ndim)), keepdim=True).expand_as(gate)


class GateStatistics:
    """Mean, deviation and entropy of the gates of one module over all windows."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = [0.0, 0.0, 0.0]

    def add(self, gate: Tensor) -> None:
        """Add the gates, 0 to 1, of a window."""
        values = gate.double()
        inside = values.clamp(0, 1)
        bits = -(torch.xlogy(inside, inside) + torch.xlogy(1 - inside, 1 - inside)) / torch.log(
            torch.tensor(2.0, dtype=torch.float64)
        )
        self._count += values.numel()
        for index, one in enumerate((values, values.square(), bits)):
            self._sums[index] += float(one.sum())

    def to_json(self) -> dict[str, float] | None:
        """Return ``mean``, ``std`` and ``entropy``; None if there was no gate.

        The entropy is the mean of that of each gate, in bits: 1 where all are at one half, 0
        where all are open or shut.
        """
        if not self._count:
            return None
        mean, square, entropy = (one / self._count for one in self._sums)
        spread = max(0.0, square - mean**2) ** 0.5
        return {"mean": mean, "std": spread, "entropy": entropy}
