"""Attention modules: each keeps the shape of what passes, and sits wherever a backbone lets it."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from napari_attnseg.models.sites import SITES
from napari_attnseg.registry import Registry

WIRING = ("dims", "context_channels", "level", "classes")
"""What a module may be told: the number of dimensions, the channels of the coarser map, the level
of its place, 0 at full resolution, and the classes of the network, with the background."""


class AttentionModule(nn.Module):
    """Base of all attention modules: facts by which pairs are computed, and one way to call.

    A subclass is built as ``(channels, *, dims=3, context_channels=None, ...)``, each option a
    keyword, and is also told what it asks for in `WIRING`; one that takes ``**options`` has those
    of its base too. The first line of its docstring is its tooltip. What can be seen passes
    through an `napari_attnseg.models.recording.AttentionMap`.
    """

    title: str = ""
    """Name for people."""
    dims: tuple[int, ...] = (2, 3)
    """Numbers of dimensions that it works in."""
    sites: tuple[str, ...] = SITES
    """Kinds of place that it suits."""
    default_sites: tuple[str, ...] = ()
    """Where its paper puts it."""
    kinds: tuple[str, ...] = ()
    """Kinds of map that it shows."""
    needs_context: bool = False
    """Whether it compares what passes with the coarser map that only a skip is given."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the attended tensor, of unchanged shape.

        Args:
            x: ``(B, C, d, h, w)``, or ``(B, C, h, w)`` in 2 dimensions.
            context: The coarser map, ``(B, C', d', h', w')``, where `needs_context`.
        """
        raise NotImplementedError

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Return the options of the module with their defaults."""
        keywords = _keywords(cls)
        return {name: default for name, default in keywords.items() if name not in WIRING}

    @classmethod
    def wiring(cls) -> tuple[str, ...]:
        """Return what the module is told of its place and its network."""
        return tuple(name for name in _keywords(cls) if name in WIRING)


def _keywords(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        named = (one for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY)
        found |= {one.name: one.default for one in named if one.name not in found}
        if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters):
            break
    return found


ATTENTION: Registry[type[AttentionModule]] = Registry(
    "attention module", "napari_attnseg.models.attention"
)
