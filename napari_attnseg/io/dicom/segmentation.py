"""Read a DICOM segmentation as a label map, one segment a class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from napari_attnseg.io.dicom.files import damage_named, read_tags
from napari_attnseg.io.dicom.headers import MOST_FRAMES, Header, numbers, read_header
from napari_attnseg.io.dicom.image import image_grid
from napari_attnseg.io.dicom.pixels import read_frames
from napari_attnseg.io.dicom.preamble import is_dicom
from napari_attnseg.io.dicom.segment_grid import on_grid, own_places
from napari_attnseg.io.dicom.series import Series
from napari_attnseg.io.format import VolumeError
from napari_attnseg.io.labels import smallest_type
from napari_attnseg.volume import Grid, Storage, Volume

_TAGS = (
    "Rows", "Columns", "NumberOfFrames", "SegmentationType", "MaximumFractionalValue",
    "SegmentSequence", "ReferencedSeriesSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip

VALUE_NOTE = "Label value {}"
"""Segments are numbered without gaps; the description of a segment keeps its class's value."""


@dataclass(frozen=True)
class Plane:
    """One frame: the segment it belongs to (0: its pixels are segment numbers) and its place."""

    segment: int
    position: np.ndarray
    directions: np.ndarray


def read_segmentation(path: Path, source: Series | None = None) -> Volume:
    """Return the segments of a file as classes, ``(1, D, H, W)``.

    The map lies on the grid of the series that the file refers to, if its files lie in the same
    folder or are given, and else on the box of the file's own frames. Where segments overlap each
    becomes a channel of 0 and 1.

    Raises:
        VolumeError: If the file is damaged, or its segments are fractions.
    """
    dataset = read_tags(path, _TAGS)
    with damage_named(path):
        planes = _planes(path, dataset)
        classes, values = _segments(dataset)
        wanted = _referenced_series(dataset)
        spacing, distance = _measures(dataset)
    if spacing is None:
        raise VolumeError(f"{path.name!r} does not say how large its pixels are.")
    pixels = _masks(path, dataset, read_frames(path), len(planes))
    grid, at = own_places(planes, spacing, distance, (pixels.shape[1], pixels.shape[2]), path)
    data = _merged(planes, pixels, at, grid, values, path)
    names = () if len(data) == 1 else tuple(classes[values[one]] for one in sorted(values))
    found = source or _source_beside(path, wanted)
    extra: dict[str, object] = {"format": "DICOM SEG", "warnings": ()}
    if found is not None:
        data, grid, extra = _placed(data, grid, found, path, extra)
    storage = Storage(
        ndim=3 if len(data) == 1 else 4, dtype=str(data.dtype), format="dicom", extra=extra
    )
    kept = classes if len(data) == 1 else {}
    return Volume(data, grid.affine, storage=storage, classes=kept, channels=names)


def _planes(path: Path, dataset: pydicom.Dataset) -> list[Plane]:
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    count = int(dataset.get("NumberOfFrames") or 1)
    if count != len(groups) or not 1 <= count <= MOST_FRAMES:
        raise VolumeError(
            f"{path.name!r} is damaged: it holds {count} frames and the places of {len(groups)}."
        )
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    return [_plane(path, group, shared) for group in groups]


def _plane(path: Path, group: pydicom.Dataset, shared: pydicom.Dataset) -> Plane:
    def value(sequence: str, name: str) -> object:
        macro = group.get(sequence) or shared.get(sequence)
        return macro[0].get(name) if macro else None

    number = value("SegmentIdentificationSequence", "ReferencedSegmentNumber")
    position = numbers(value("PlanePositionSequence", "ImagePositionPatient"), 3)
    directions = numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if position is None or directions is None:
        raise VolumeError(f"{path.name!r} does not say where in the patient its frames lie.")
    return Plane(int(str(number or 0)), position, directions.reshape(2, 3))


def _measures(dataset: pydicom.Dataset) -> tuple[tuple[float, float] | None, float | None]:
    """Return mm between pixels, and between slices, as the file says."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    group = dataset.PerFrameFunctionalGroupsSequence[0]
    macro = shared.get("PixelMeasuresSequence") or group.get("PixelMeasuresSequence")
    if not macro:
        return None, None
    spacing = numbers(macro[0].get("PixelSpacing"), 2)
    between = numbers(macro[0].get("SpacingBetweenSlices"), 1)
    thick = numbers(macro[0].get("SliceThickness"), 1)
    distance = between if between is not None else thick
    return (
        None if spacing is None or spacing.min() <= 0 else (float(spacing[0]), float(spacing[1])),
        None if distance is None else abs(float(distance[0])) or None,
    )


def _segments(dataset: pydicom.Dataset) -> tuple[dict[int, str], dict[int, int]]:
    """Return the names of class values, and the value of each segment number."""
    names, values = {}, {}
    for item in dataset.get("SegmentSequence") or ():
        number = int(item.SegmentNumber)
        note = re.fullmatch(VALUE_NOTE.format(r"(\d{1,9})"), str(item.get("SegmentDescription")))
        values[number] = int(note[1]) if note else number
        names[number] = str(item.get("SegmentLabel") or f"segment {number}")
    values.pop(0, None)  # the background of a label map
    if len(set(values.values())) < len(values) or 0 in values.values():
        values = {number: number for number in values}
    return {values[number]: names[number] for number in values}, values


def _referenced_series(dataset: pydicom.Dataset) -> set[str]:
    references = dataset.get("ReferencedSeriesSequence") or ()
    return {str(one.get("SeriesInstanceUID")) for one in references}


def _masks(path: Path, dataset: pydicom.Dataset, pixels: np.ndarray, count: int) -> np.ndarray:
    """Return 0 and 1, or segment numbers, ``(frames, rows, columns)``."""
    if len(pixels) != count:
        raise VolumeError(f"{path.name!r} is damaged: it holds {len(pixels)} of {count} frames.")
    if str(dataset.get("SegmentationType")) != "FRACTIONAL":
        return pixels
    largest = int(dataset.get("MaximumFractionalValue") or 255)
    between = int(((pixels > 0) & (pixels < largest)).sum())
    if between:
        raise VolumeError(
            f"{path.name!r} holds fractions, not segments: {between} of {pixels.size} pixels are "
            "neither in nor out; save it as a binary segmentation."
        )
    return (pixels > 0).astype(np.uint8)


def _merged(
    planes: Sequence[Plane],
    pixels: np.ndarray,
    at: Sequence[int],
    grid: Grid,
    values: dict[int, int],
    path: Path,
) -> np.ndarray:
    """Return the planes as one map of values, or as a channel a segment where they overlap."""
    dtype = smallest_type(max(values.values(), default=1))
    out = np.zeros((1, *grid.shape_dhw), dtype=dtype)
    table = np.zeros(max([*values, int(pixels.max())]) + 1, dtype=dtype)
    for number, value in values.items():
        table[number] = value
    _require_described(planes, pixels, values, path)
    for plane, mask, k in zip(planes, pixels, at, strict=True):
        added = table[mask] if plane.segment == 0 else mask * table[plane.segment]
        if (out[0, k][added > 0] > 0).any():
            return _apart(planes, pixels, at, grid, sorted(values))
        out[0, k] += added.astype(dtype)
    return out


def _require_described(
    planes: Sequence[Plane], pixels: np.ndarray, values: dict[int, int], path: Path
) -> None:
    """Refuse segments of which the file does not say what they are."""
    numbers_in = {one.segment for one in planes} - {0}
    maps = [mask for one, mask in zip(planes, pixels, strict=True) if one.segment == 0]
    if maps:
        numbers_in |= {int(one) for one in np.unique(np.stack(maps))} - {0}
    unknown = sorted(numbers_in - set(values))
    if unknown:
        raise VolumeError(
            f"{path.name!r} is damaged: it holds the segment {unknown[0]} and does not say what "
            "that is."
        )


def _apart(
    planes: Sequence[Plane],
    pixels: np.ndarray,
    at: Sequence[int],
    grid: Grid,
    segments: Sequence[int],
) -> np.ndarray:
    out = np.zeros((len(segments), *grid.shape_dhw), dtype=np.uint8)
    for plane, mask, k in zip(planes, pixels, at, strict=True):
        out[segments.index(plane.segment), k] |= mask.astype(np.uint8)
    return out


def _source_beside(path: Path, wanted: set[str]) -> Series | None:
    """Return the series that a segmentation refers to, if its files lie in the same folder."""
    found: list[Header] = []
    for one in sorted(path.parent.iterdir()) if wanted else ():
        if one != path and one.is_file() and is_dicom(one):
            try:
                header = read_header(one)
            except VolumeError:
                continue
            if header.series in wanted and header.is_image and not header.is_segmentation:
                found.append(header)
    return Series(tuple(found)) if found else None


def _placed(
    data: np.ndarray, grid: Grid, source: Series, path: Path, extra: dict[str, object]
) -> tuple[np.ndarray, Grid, dict[str, object]]:
    """Return the map on the grid of its series, or as it is where that does not fit."""
    try:
        target, frames = image_grid(source, path.name)
        moved = on_grid(data, grid, target)
    except VolumeError:
        moved = None
    if moved is None:
        told = ("The series it refers to has another grid; the frames' own is used.",)
        return data, grid, {**extra, "warnings": told}
    files = tuple(dict.fromkeys(str(one.path) for one in frames))
    return moved, target, {**extra, "files": files}
