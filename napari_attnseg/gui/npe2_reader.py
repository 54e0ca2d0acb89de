"""Opens volumes in napari: masks as labels with their class names, the rest as images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_attnseg.gui.viewer.volume_layers import LayerData, volume_layers
from napari_attnseg.io import known_suffix, read_volume, stem

Paths = str | list[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return a function that opens the path or paths, or None if one is no volume by its name."""
    paths = [path] if isinstance(path, str) else list(path)
    if not paths or any(known_suffix(one) is None for one in paths):
        return None
    return read


def read(path: Paths) -> list[LayerData]:
    """Return the layers of the volumes.

    Raises:
        VolumeError: If one cannot be read; the message names it and says why.
    """
    layers = []
    for one in [path] if isinstance(path, str) else path:
        layers += volume_layers(read_volume(one), stem(Path(one)))
    return layers
