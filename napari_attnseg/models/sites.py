"""The places in a network where attention can sit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from napari_attnseg.models.contract import ModelError, UnknownNameError
from napari_attnseg.models.grid import stay

SITES = ("encoder", "bottleneck", "skip", "concat", "decoder", "head")
"""Kinds of place: the end of an encoder block, of the deepest block, the skip connection, its
concatenation with the coarser map, the end of a decoder block, and before the output layer."""

INPUT = "input"
"""The place before any network, for what moves the image and brings the logits back."""

CONTEXT_SITES = ("skip",)
"""Places that are also given the coarser map that they will be joined with."""


@dataclass(frozen=True)
class Site:
    """A kind of place and the levels that are meant, None for all."""

    name: str
    levels: tuple[int, ...] | None = None

    def __str__(self) -> str:
        if self.levels is None:
            return self.name
        return f"{self.name}:{','.join(map(str, self.levels))}"


def parse_site(text: str) -> Site:
    """Return the place that a string such as ``"skip"`` or ``"encoder:0,2"`` names.

    Raises:
        UnknownNameError: If it names none.
        ModelError: If its levels are no numbers.
    """
    name, colon, levels = text.strip().partition(":")
    if name not in (*SITES, INPUT):
        raise UnknownNameError("place for attention", name, [*SITES, INPUT])
    if not colon:
        return Site(name)
    parts = [part.strip() for part in levels.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ModelError(f"The levels of {text!r} are not numbers; write them like 'encoder:0,2'.")
    return Site(name, tuple(sorted({int(part) for part in parts})))


def place_name(site: str, level: int) -> str:
    """Return the name of one place, such as ``"skip1"`` or ``"bottleneck"``."""
    return site if site in ("bottleneck", "head", INPUT) else f"{site}{level}"


class AttentionSite(nn.Module):
    """One place in a network, and what sits there, which may be nothing.

    Args:
        name: Such as ``"encoder0"``; names of recorded maps begin with it.
        layer: Name of a layer on whose grid the place lies.
        attention: Registered name of the module.
        module: What sits here. It may be swapped for any module that keeps the shape.
    """

    def __init__(
        self, name: str, layer: str, attention: str = "none", module: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.layer = layer
        self.attention = attention
        self.module = module

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.module is None:
            return x
        if getattr(self.module, "needs_context", False):
            return self.module(x, context)
        return self.module(x)


class InputSite(AttentionSite):
    """The place before a network, which is its `napari_attnseg.models.contract.Entrance`."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Any:
        """Return what the network sees, and what brings its maps back to the input's place."""
        move = getattr(self.module, "there_and_back", None)
        return (super().forward(x), stay) if move is None else move(x)
