"""Opens volumes in napari: masks as labels with their class names, the rest as images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_attnseg.gui.viewer.volume_layers import LayerData, volume_layers
from napari_attnseg.io import FORMATS, is_marked_folder, read_volume, series_format_of, stem

Paths = str | list[str]
NO_VOLUMES = ("slices", "stl")
"""Formats whose files are no volumes by their name."""


def claimed_suffixes() -> tuple[str, ...]:
    """Return the endings of files that are volumes by their name, as the manifest lists them.

    Pictures are left to napari's own readers, which know that most of them are no slices;
    a surface holds no voxels.
    """
    claimed = [part for name, part in FORMATS.items() if name not in NO_VOLUMES]
    return tuple(one for part in claimed for one in (*part.suffixes, *part.named_suffixes))


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return a function that opens the path or paths, or None if one is no volume.

    A file is one by its name, a folder if it holds a DICOM series.
    """
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    return read if paths and all(_is_volume(one) for one in paths) else None


def read(path: Paths) -> list[LayerData]:
    """Return the layers of the volumes.

    Raises:
        VolumeError: If one cannot be read; the message names it and says why.
    """
    layers = []
    for one in [path] if isinstance(path, str) else path:
        layers += volume_layers(read_volume(one), stem(Path(one)))
    return layers


def _is_volume(path: Path) -> bool:
    if path.is_dir():
        return is_marked_folder(path) or series_format_of(path) is not None
    return path.name.lower().endswith(claimed_suffixes())
