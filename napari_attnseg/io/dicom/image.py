"""A DICOM series as a volume."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_attnseg.io.dicom.headers import Frame, Header
from napari_attnseg.io.dicom.pixels import read_slices
from napari_attnseg.io.dicom.series import Series
from napari_attnseg.io.dicom.stack import Stack, stack
from napari_attnseg.io.dicom.upright import upright
from napari_attnseg.io.format import Remedy, VolumeError
from napari_attnseg.volume import Grid, Storage, Volume


def read_image(series: Series, name: str, remedy: Remedy | None = None) -> Volume:
    """Return a series of slices as a volume, sorted by position.

    Args:
        series: An image's files.
        name: What a refusal calls it.
        remedy: What to do about slices that make no regular grid, where it is on offer.

    Raises:
        VolumeError: If the slices make no regular grid, or a file is damaged.
    """
    made, warnings = stacked(series, name, remedy)
    data = np.stack([read_slices(channel) for channel in made.channels])
    affine = made.affine
    if made.is_tilted:
        data, affine = upright(data, affine)
    warnings = [*warnings, *made.warnings]
    files = tuple(str(one.path) for one in made.channels[0])
    storage = Storage(
        ndim=4 if len(made.channels) > 1 else 3,
        dtype=str(data.dtype),
        format="dicom",
        extra={
            "format": "DICOM",
            # A mask on a resampled grid cannot refer to the slices as they are.
            "files": () if made.is_tilted else files,
            "warnings": tuple(warnings),
        },
    )
    return Volume(data, affine, storage=storage, channels=made.names)


def image_grid(series: Series, name: str) -> tuple[Grid, tuple[Frame, ...]]:
    """Return the grid of a series without its pixels, and its slices in order."""
    made, _ = stacked(series, name)
    rows, columns = made.channels[0][0].size
    return Grid((len(made.channels[0]), rows, columns), made.affine), made.channels[0]


def stacked(series: Series, name: str, remedy: Remedy | None = None) -> tuple[Stack, list[str]]:
    """Return a series' slices in order, and what the user should know.

    Raises:
        VolumeError: If they make no regular grid.
    """
    headers, copies = _without_copies(series.headers)
    for one in headers:
        if one.refusal:
            raise VolumeError(f"{one.path.name!r} {one.refusal}.")
    told = "1 file is a copy of another" if copies == 1 else f"{copies} files are copies of others"
    warnings = [f"{told}; left out."] if copies else []
    if series.unreadable:
        files = "1 file" if series.unreadable == 1 else f"{series.unreadable} files"
        warnings.append(
            f"{files} beside the series cannot be read; it may miss slices at its end."
        )
    frames = [frame for header in headers for frame in header.frames]
    return stack(frames, name, remedy), warnings


def _without_copies(headers: Sequence[Header]) -> tuple[list[Header], int]:
    """Return the files without those that are equal to another, byte by byte."""
    kept: dict[tuple[str, str], Header] = {}
    instances = [one.instance for one in headers]
    for one in headers:
        is_alone = not one.instance or instances.count(one.instance) == 1
        content = str(one.path) if is_alone else _digest(one.path)
        kept.setdefault((one.instance, content), one)
    return list(kept.values()), len(headers) - len(kept)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
