"""Read and write volumes with their whole geometry; one file per format in ``formats/``."""

from __future__ import annotations

from napari_attnseg.io.atomic import atomic_write
from napari_attnseg.io.describe import describe, describe_all
from napari_attnseg.io.format import (
    FORMATS,
    IrregularSeriesError,
    SeriesChoiceError,
    VolumeError,
    is_marked_folder,
    known_suffix,
    known_suffixes,
    series_format_of,
    stem,
)
from napari_attnseg.io.labels import as_label_map, looks_like_labels, values_in
from napari_attnseg.io.opening import open_volume, opening, sampled
from napari_attnseg.io.volumes import read_volume, write_volume

__all__ = [
    "FORMATS",
    "IrregularSeriesError",
    "SeriesChoiceError",
    "VolumeError",
    "as_label_map",
    "atomic_write",
    "describe",
    "describe_all",
    "is_marked_folder",
    "known_suffix",
    "known_suffixes",
    "looks_like_labels",
    "open_volume",
    "opening",
    "read_volume",
    "sampled",
    "series_format_of",
    "stem",
    "values_in",
    "write_volume",
]
