"""Open a volume that may be larger than memory: its voxels stay on the disk until looked at."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io.format import (
    Choice,
    HeaderError,
    Remedy,
    VolumeError,
    format_of,
    marked_folder_format_of,
    series_format_of,
)
from napari_attnseg.io.stored import RAW, TEXT, Stored
from napari_attnseg.io.unpacked import Progress, unpacking
from napari_attnseg.io.volumes import read_volume
from napari_attnseg.volume import Volume

LARGE = 512 << 20
"""Bytes of voxels above which a volume is opened lazily; less is faster to look at in memory."""

_SAMPLED_PLANES = 24
_THIN, _FEW = 16, 3


def opening(
    path: str | Path,
    *,
    larger_than: int = LARGE,
    series: Choice = None,
    remedy: Remedy | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, Volume | None]:
    """Open a volume, with progress where it has to be unpacked first.

    NIfTI, NRRD, MetaImage and GIPL are read where they are sliced, once their header has passed
    the checks of `read_volume` and the file was found to hold what it promises; compressed ones
    are unpacked into the user's cache, all checksums compared. Zarr is read chunk by chunk. All
    else, and what is not large, is read as `read_volume` does.

    Args:
        path: The file, or a folder that is one volume.
        larger_than: Bytes of voxels above which they stay on the disk.
        series: Which DICOM series, as in `read_volume`.
        remedy: What to do about an irregular series, as in `read_volume`.
        should_stop: Asked after each step.

    Returns:
        The volume, whose ``is_lazy`` tells whether its voxels are still on the disk; None if it
        was stopped.

    Raises:
        VolumeError: If it is missing, damaged or holds no volume; the message says which.
    """
    path = Path(path)
    try:
        volume = _open_zarr(path, larger_than)
        if volume is not None:
            return volume
        stored = _stored(path)
        if stored is None or stored.size <= larger_than:
            return read_volume(path, series=series, remedy=remedy)
        if stored.encoding == RAW:
            return stored.open()
        found = yield from unpacking(stored, path, should_stop=should_stop)
        return stored.opened(found.path, 0, list(found.warnings)) if found else None
    except HeaderError as error:
        raise VolumeError(f"{path.name!r} {error}.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise VolumeError(f"{path.name!r} could not be read: {reason}.") from error


def open_volume(path: str | Path, **options: Any) -> Volume:
    """Return the volume that `opening` opens, without telling of progress.

    Args:
        path: The file, or a folder that is one volume.
        **options: Those of `opening`, but for ``should_stop``.

    Raises:
        VolumeError: If it is missing, damaged or holds no volume; the message says which.
    """
    steps = opening(path, **options)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def sampled(volume: Volume, channel: int = 0, planes: int = _SAMPLED_PLANES) -> np.ndarray:
    """Return some of the planes of a channel, ``(n, H, W)``, in memory: for limits of contrast.

    Args:
        volume: Lazy or not.
        channel: Which one.
        planes: At most so many, spread from the first to the last.
    """
    depth = volume.data.shape[1]
    chunks = getattr(volume.data, "chunks", None)
    thick = max(chunks[1]) if chunks else 1
    if thick <= _THIN:
        at = np.unique(np.linspace(0, depth - 1, min(planes, depth)).round().astype(int))
        return np.stack([np.asarray(volume.data[channel, int(k)]) for k in at])
    # A thick chunk is unpacked whole for one plane, so few are, and several planes taken of each.
    starts = np.unique(np.linspace(0, (depth - 1) // thick, _FEW).round().astype(int)) * thick
    step = max(thick * len(starts) // planes, 1)
    parts = [slice(int(k), min(int(k) + thick, depth), step) for k in starts]
    return np.concatenate([np.asarray(volume.data[channel, part]) for part in parts])[:planes]


def _stored(path: Path) -> Stored | None:
    """Return where a file keeps its voxels, or None if its format cannot tell."""
    if not path.is_file() or path.stat().st_size == 0 or series_format_of(path) is not None:
        return None
    part = format_of(path)
    told = getattr(part, "stored", None)
    found: Stored | None = told(path) if told is not None else None
    if found is None or found.encoding == TEXT or not found.is_lazy:
        return None
    return found


def _open_zarr(path: Path, larger_than: int) -> Volume | None:
    found = marked_folder_format_of(path) if path.is_dir() else None
    opened = getattr(found, "open_folder", None)
    return opened(path, larger_than) if opened is not None else None
