"""What a file is, in one row: the facts a person checks before trusting it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io.format import (
    VolumeError,
    folder_format_of,
    is_marked_folder,
    known_suffix,
    series_format_of,
)
from napari_attnseg.io.labels import looks_like_labels, values_in
from napari_attnseg.io.volumes import read_volume
from napari_attnseg.volume import Volume

_FACTS = (
    "format", "shape", "spacing_mm", "orientation", "affine_ras", "dtype", "range", "classes",
)  # fmt: skip


def describe(path: str | Path) -> dict[str, Any]:
    """Return the facts about a file as JSON-ready values; a refused one says why.

    Returns:
        ``path``, ``ok``, ``reason``, ``format``, ``shape`` (C, D, H, W without C = 1),
        ``spacing_mm`` (D, H, W), ``orientation`` (of i, j, k), ``affine_ras``, ``dtype`` as
        stored, ``range`` of the finite voxels, ``classes`` (value to name, where the voxels look
        like labels) and ``warnings``.
    """
    return _row(Path(path), partial(read_volume, path))


def describe_all(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Return one row for each file; a folder stands for the volumes in it and below."""
    rows = []
    for path in map(Path, paths):
        if not path.is_dir() or is_marked_folder(path):
            rows.append(describe(path))
            continue
        files = volumes_in(path)
        found = [describe(file) for file in files] + _series_rows(path)
        found = found or [describe(one) for one in _as_one(path)]
        rows += found or [_refused(path, f"There is no volume in the folder {str(path)!r}.")]
    return rows


def volumes_in(folder: Path) -> list[Path]:
    """Return the volumes in a folder and below, sorted; hidden ones are left out."""
    found = (one for one in folder.rglob("*") if known_suffix(one) and one.is_file())
    marked = (one for one in folder.rglob("*.zarr") if is_marked_folder(one))
    return sorted(one for one in (*found, *marked) if not _is_hidden(one.relative_to(folder)))


def _row(path: Path, read: Callable[[], Volume]) -> dict[str, Any]:
    try:
        volume = read()
    except (VolumeError, MemoryError, OSError) as error:
        return _refused(path, str(error))
    return {"path": str(path), "ok": True, "reason": None, **_facts(volume)}


def _refused(path: Path, reason: str) -> dict[str, Any]:
    empty = dict.fromkeys(_FACTS)
    return {"path": str(path), "ok": False, "reason": reason, **empty, "warnings": []}


def _series_rows(folder: Path) -> list[dict[str, Any]]:
    """Return one row for each DICOM series in a folder and below."""
    several = series_format_of(folder)
    try:
        found = several.volumes_in(folder) if several is not None else []
    except (VolumeError, OSError) as error:
        return [_refused(folder, str(error))]
    return [_row(path, read) for path, read in found]


def _as_one(folder: Path) -> list[Path]:
    """Return a folder that is itself a volume, such as one of slices."""
    return [folder] if folder_format_of(folder) is not None else []


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _facts(volume: Volume) -> dict[str, Any]:
    storage, grid = volume.storage, volume.grid
    shape = volume.data.shape if volume.data.shape[0] > 1 else volume.data.shape[1:]
    return {
        "format": storage.extra.get("format", storage.format) if storage else None,
        "shape": list(shape),
        "spacing_mm": [round(mm, 6) for mm in grid.spacing_dhw],
        "orientation": grid.orientation,
        "affine_ras": volume.affine.tolist(),
        "dtype": storage.dtype if storage else str(volume.data.dtype),
        "range": _range(volume.data),
        "classes": _classes(volume),
        "warnings": _warnings(volume),
    }


def _range(data: np.ndarray) -> list[float | int] | None:
    low, high = data.min(), data.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = data[np.isfinite(data)]
        if finite.size == 0:
            return None
        low, high = finite.min(), finite.max()
    return [low.item(), high.item()]


def _classes(volume: Volume) -> dict[str, str]:
    if not looks_like_labels(volume):
        return {}
    values = values_in(volume.data[0])
    return {str(one): volume.classes.get(one, f"class {one}") for one in values if one > 0}


def _warnings(volume: Volume) -> list[str]:
    warnings = list(volume.storage.extra.get("warnings", ())) if volume.storage else []
    bad = volume.data.size - int(np.isfinite(volume.data).sum())
    if bad:
        warnings.append(f"{bad} of {volume.data.size} voxels are NaN or infinite.")
    if bad < volume.data.size and volume.data.min() == volume.data.max():
        warnings.append(f"Every voxel has the value {volume.data.flat[0]:g}.")
    return warnings
