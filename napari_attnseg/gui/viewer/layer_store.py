"""Our layers in a viewer: found by what they are, kept in order, used again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import napari
import numpy as np
from napari.layers import Layer

from napari_attnseg.gui.viewer.facts import ROLES, facts_of

SINGLE = ("prediction", "map")
"""Roles of which a case has one layer."""


class LayerStore:
    """The layers of one case in a viewer.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self.case_name: str | None = None

    def put(
        self, kind: Any, data: np.ndarray, attributes: dict[str, Any], role: str, old: Any = None
    ) -> Any:
        """Give a layer new contents, or make one.

        Args:
            kind: Class of the layer.
            data: Its voxels.
            attributes: What else it is made with.
            role: One of `ROLES`.
            old: The layer to use again; by default the one of a role that has one.
        """
        if old is None and role in SINGLE:
            old = next(iter(self.of(role)), None)
        if old is None:
            layer = kind(data, **attributes)
            self._insert(layer, role)
            return layer
        # With new voxels in the old places the volume may end before the slice that is shown.
        point = self._viewer.dims.point
        old.data = data
        for name, value in attributes.items():
            setattr(old, name, value)
        self._viewer.dims.point = point
        return old

    def of(self, *roles: str) -> list[Any]:
        """Return the case's layers, all or those of some roles, from the lowest up."""
        if self.case_name is None:
            return []
        layers = [layer for layer in self._viewer.layers if _case(layer) == self.case_name]
        return [layer for layer in layers if not roles or role_of(layer) in roles]

    def remove(self, layers: Iterable[Layer]) -> None:
        """Take layers away."""
        for layer in list(layers):
            self._viewer.layers.remove(layer)

    def _insert(self, layer: Layer, role: str) -> None:
        rank, at = ROLES.index(role), 0
        for index, other in enumerate(self._viewer.layers):
            facts = facts_of(other)
            if facts is None or ROLES.index(facts.role) <= rank:
                at = index + 1
        active = self._viewer.layers.selection.active
        self._viewer.layers.insert(at, layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active


def role_of(layer: Layer) -> str:
    """Return a layer's role, or an empty string if it is not ours."""
    facts = facts_of(layer)
    return facts.role if facts is not None else ""


def _case(layer: Layer) -> str | None:
    facts = facts_of(layer)
    return facts.case if facts is not None else None
