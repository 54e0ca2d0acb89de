"""What a job reads: the images of one case as one volume."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io import read_volume
from napari_attnseg.io.onto_grid import is_other_order, stored_like
from napari_attnseg.io.onto_grid import resampled as resampled_onto
from napari_attnseg.volume import Grid, GridMismatchError, Volume, require_same_grid

RESAMPLE_HINT = "With --resample it is put onto the first, linearly and by its place in the world."


class JobError(ValueError):
    """A job that cannot be done as asked; the message says why and what to do."""


def read_images(images: Mapping[str, str | Path]) -> Volume:
    """Return the images of a case as the channels of one volume, in their order.

    See `read_on_one_grid`, by which no image is resampled here.
    """
    return read_on_one_grid(images)[0]


def read_on_one_grid(
    images: Mapping[str, str | Path], *, resample: bool = False
) -> tuple[Volume, list[str]]:
    """Return the images of a case as the channels of one volume, and which were resampled.

    A file that several channels name holds them all, one after another. What writing a result
    back exactly needs is that of the first file. An image that holds the voxels of the first in
    another storage order is turned, exactly.

    Args:
        images: File by channel name.
        resample: Whether an image on another grid than the first may be put onto it, linearly in
            world space.

    Raises:
        JobError: If there is no image.
        VolumeError: If one cannot be read.
        GridMismatchError: If they are on different grids that are not to be resampled.
    """
    if not images:
        raise JobError("The case has no image.")
    volumes: dict[Path, Volume] = {}
    parts: list[np.ndarray] = []
    resampled: list[str] = []
    paths = [Path(path) for path in images.values()]
    for index, (channel, path) in enumerate(zip(images, paths, strict=True)):
        if path not in volumes:
            read = read_volume(path)
            target = volumes[paths[0]].grid if volumes else read.grid
            volumes[path] = _on(target, read, channel, resample=resample)
            if volumes[path] is not read and not is_other_order(target, read.grid):
                resampled.append(channel)
        parts.append(_channel(volumes[path], path, index, paths))
    data = parts[0] if len(parts) == 1 else np.concatenate(parts)
    names = tuple(images) if len(images) == data.shape[0] else ()
    return volumes[paths[0]].replace(data=data, channels=names), resampled


def told_resampled(channels: Sequence[str]) -> list[str]:
    """Return the warning that images were resampled; nothing if none was."""
    if not channels:
        return []
    were = "was" if len(channels) == 1 else "were"
    return [f"{', '.join(channels)} {were} resampled onto the grid of the first image, linearly."]


def _on(grid: Grid, volume: Volume, channel: str, *, resample: bool) -> Volume:
    """Return an image on a grid; itself if it lies there."""
    if grid.difference(volume.grid) is None:
        return volume
    if is_other_order(grid, volume.grid):
        return stored_like(volume, grid)
    if resample:
        return resampled_onto(volume, grid)
    try:
        require_same_grid(grid, volume.grid, names=("first image", f"image {channel!r}"))
    except GridMismatchError as error:
        raise GridMismatchError(f"{error} {RESAMPLE_HINT}") from error
    return volume


def require_new_files(files: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse to write over what exists.

    Raises:
        JobError: If a file exists and may not be overwritten.
    """
    there = [str(file) for file in files if file.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise JobError(
            f"{there[0]}{more} would be overwritten; choose another folder, or allow it with "
            "--overwrite."
        )


def require_writable(folder: Path) -> None:
    """Refuse a folder that results cannot be written to, before any work is done for them.

    Args:
        folder: Need not be there yet; nothing is made.

    Raises:
        JobError: If it, or the folder that it would be made in, is none or cannot be written.
    """
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise JobError(
            f"Results cannot be written to {str(folder)!r}, because {str(there)!r} is a file and "
            "no folder; choose another folder."
        )
    is_asked_as_oneself = os.access in os.supports_effective_ids
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=is_asked_as_oneself):
        raise JobError(
            f"Results cannot be written to {str(folder)!r}, because you may not write to "
            f"{str(there)!r}; choose another folder, or ask for the right to write there."
        )


def require_different_names(inputs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse inputs whose results would get the same name.

    Raises:
        JobError: If two are equal.
    """
    seen: set[str] = set()
    for one in inputs:
        # On some systems two names that differ in case are one file.
        name = str(one["name"]).casefold()
        if name in seen:
            raise JobError(
                f"Two inputs are named {one['name']!r}, so one result would replace the other; "
                "rename one of them, or give them in two calls."
            )
        seen.add(name)


def _channel(volume: Volume, path: Path, index: int, paths: Sequence[Path]) -> np.ndarray:
    if paths.count(path) == 1:
        return volume.data
    if index >= volume.data.shape[0]:
        raise JobError(
            f"{path.name!r} holds {volume.data.shape[0]} images, and image {index + 1} was asked "
            "for."
        )
    return volume.data[index : index + 1]
