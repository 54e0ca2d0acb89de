"""What napari must be kept from doing with volumes that are larger than memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari
from napari.utils import resize_dask_cache

from napari_attnseg.volume import Volume

CACHE_BYTES = 128 << 20
"""Planes that napari keeps of volumes in files; by default it takes a tenth of the memory."""

TOO_LARGE = (
    "{} is too large to be shown as a whole: its voxels are read slice by slice. "
    "Look at it in a plane."
)


def keep_cache_small(volume: Volume) -> None:
    """Keep napari from filling the memory with planes that were looked at."""
    if volume.is_lazy:
        resize_dask_cache(nbytes=CACHE_BYTES)


class PlanesOnly:
    """Turns back to a plane where a volume rendering would read a large volume whole.

    Args:
        viewer: The viewer.
        say: Told why.
    """

    def __init__(self, viewer: napari.Viewer, say: Callable[[str], None]) -> None:
        self._viewer, self._say = viewer, say
        # Before napari itself, which would begin to read.
        viewer.dims.events.ndisplay.connect(self._turn_back, position="first")

    def _turn_back(self, event: Any) -> None:
        if self._viewer.dims.ndisplay != 3:
            return
        lazy = [layer for layer in self._viewer.layers if is_lazy(layer) and layer.visible]
        if lazy:
            self._viewer.dims.ndisplay = 2
            self._say(TOO_LARGE.format(lazy[0].name))


def is_lazy(layer: Any) -> bool:
    """Return whether the voxels of a layer are read where they are sliced."""
    return hasattr(layer.data, "dask")
