"""The places in a network where attention can sit."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from napari_attnseg.models.contract import ModelError

SITES = ("encoder", "bottleneck", "skip", "concat", "decoder", "head")
"""Kinds of place: the end of an encoder block, of the deepest block, the skip connection, its
concatenation with the coarser map, the end of a decoder block, and before the output layer."""

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
        ModelError: If it names none.
    """
    name, colon, levels = text.strip().partition(":")
    if name not in SITES:
        raise ModelError(f"{text!r} is no place for attention; the places are {', '.join(SITES)}.")
    if not colon:
        return Site(name)
    parts = [part.strip() for part in levels.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ModelError(f"The levels of {text!r} are not numbers; write them like 'encoder:0,2'.")
    return Site(name, tuple(sorted({int(part) for part in parts})))


def place_name(site: str, level: int) -> str:
    """Return the name of one place, such as ``"skip1"`` or ``"bottleneck"``."""
    return site if site in ("bottleneck", "head") else f"{site}{level}"


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
