"""Opens volumes in napari: masks as labels with their class names, the rest as images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from qtpy.QtWidgets import QApplication, QWidget

from napari_attnseg.gui.questions import ask_remedy, ask_series
from napari_attnseg.gui.viewer.volume_layers import LayerData, volume_layers
from napari_attnseg.gui.waiting import wait_for
from napari_attnseg.io import FORMATS, is_marked_folder, series_format_of, stem
from napari_attnseg.io.format import IrregularSeriesError, SeriesChoiceError
from napari_attnseg.io.opening import opening
from napari_attnseg.volume import Volume

Paths = str | list[str]
NO_LAYER: Any = (None,)
"""What napari takes for: this was read, and there is nothing to show."""

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
    """Return the layers of the volumes; which series of several is meant is asked.

    Raises:
        VolumeError: If one cannot be read; the message names it and says why.
    """
    layers: list[LayerData] = []
    for one in [path] if isinstance(path, str) else path:
        volume = _opened(Path(one))
        layers += volume_layers(volume, stem(Path(one))) if volume is not None else []
    return layers or [NO_LAYER]


def _opened(path: Path) -> Volume | None:
    """Return a volume, or None if the person decided against it."""
    answers: dict[str, Any] = {}
    while True:
        try:
            return wait_for(opening(path, **answers), f"Opening {path.name}", _window())
        except SeriesChoiceError as error:
            if not _has_qt():
                raise
            chosen = ask_series(path.name, error.titles, parent=_window())
            if not chosen:
                return None
            answers["series"] = chosen[0]
        except IrregularSeriesError as error:
            if "remedy" in answers or not _has_qt():
                raise
            if not ask_remedy(str(error), error.remedy, _window()):
                return None
            answers["remedy"] = error.remedy


def _window() -> QWidget | None:
    return cast("QApplication", QApplication.instance()).activeWindow() if _has_qt() else None


def _has_qt() -> bool:
    return QApplication.instance() is not None


def _is_volume(path: Path) -> bool:
    if path.is_dir():
        return is_marked_folder(path) or series_format_of(path) is not None
    return path.name.lower().endswith(claimed_suffixes())
