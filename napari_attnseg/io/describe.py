"""What a file is, in one row: the facts a person checks before trusting it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io.format import VolumeError, known_suffix
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
    try:
        volume = read_volume(path)
    except VolumeError as error:
        empty = dict.fromkeys(_FACTS)
        return {"path": str(path), "ok": False, "reason": str(error), **empty, "warnings": []}
    return {"path": str(path), "ok": True, "reason": None, **_facts(volume)}


def describe_all(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Return one row for each file; a folder stands for the volumes in it and below."""
    rows = []
    for path in map(Path, paths):
        files = volumes_in(path) if path.is_dir() else [path]
        rows += [describe(file) for file in files]
        if not files:
            reason = f"There is no volume in the folder {str(path)!r}."
            empty = dict.fromkeys(_FACTS)
            rows.append(
                {"path": str(path), "ok": False, "reason": reason, **empty, "warnings": []}
            )
    return rows


def volumes_in(folder: Path) -> list[Path]:
    """Return the volumes in a folder and below, sorted; hidden ones are left out."""
    found = (one for one in folder.rglob("*") if known_suffix(one) and one.is_file())
    return sorted(one for one in found if not _is_hidden(one.relative_to(folder)))


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
