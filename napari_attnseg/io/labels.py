"""Turn what files hold into label maps: non-negative whole numbers in one channel."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from napari_attnseg.io.format import VolumeError
from napari_attnseg.volume import Volume

MOST_CLASSES = 1000
"""More distinct values than this are taken for intensities."""

LARGEST_COUNTED = 65535
"""Values up to this one are counted in a table."""

_TYPES = (np.uint8, np.uint16, np.uint32, np.uint64)


def smallest_type(largest: int) -> np.dtype:
    """Return the smallest unsigned type that holds a value."""
    return next(np.dtype(one) for one in _TYPES if largest <= np.iinfo(one).max)


def as_label_map(volume: Volume, path: str | Path) -> Volume:
    """Return a label map, ``(1, D, H, W)`` of an integer type, on the same grid.

    Whole numbers stored as floats become the smallest unsigned type that holds them. Several
    channels are accepted where exactly one of them is set in every voxel (one-hot): the
    channel's index, from 0, is the value.

    Raises:
        VolumeError: On NaN, infinite, fractional or negative values, or channels that overlap.
    """
    name = Path(path).name
    data = _from_one_hot(volume.data, name) if volume.data.shape[0] > 1 else volume.data
    if data.dtype == bool:
        data = data.view(np.uint8)
    if data.dtype.kind == "f":
        data = _whole_numbers(data, name)
    elif data.dtype.kind == "i" and data.min() < 0:
        raise VolumeError(
            f"The label {name!r} holds the negative value {data.min()}; labels are 0 or more."
        )
    if data is volume.data:
        return volume
    storage = volume.storage
    if storage is not None:
        ndim = storage.ndim if volume.data.shape[0] == 1 else 3
        storage = dataclasses.replace(storage, dtype=str(data.dtype), ndim=ndim)
    return volume.replace(data=data, storage=storage, channels=())


def looks_like_labels(volume: Volume) -> bool:
    """Return whether a volume's voxels look like classes rather than intensities.

    Classes are whole numbers of 0 or more, not too many of them, and neighbours mostly agree.
    """
    data = volume.data
    if data.shape[0] != 1 or not np.isfinite(data).all():
        return False
    if data.min() < 0 or (data.dtype.kind == "f" and (data != np.rint(data)).any()):
        return False
    if data.max() > LARGEST_COUNTED:
        return False
    distinct = values_in(data[0])
    if len(distinct) > MOST_CLASSES or (len(distinct) == 1 and distinct[0] > 0):
        return False
    return len(distinct) <= 2 or _neighbours_agree(data[0])


def values_in(data: np.ndarray) -> list[int]:
    """Return the distinct values of whole numbers of 0 or more, ``(D, H, W)``, in order."""
    if data.max() > LARGEST_COUNTED:
        return [int(value) for value in np.unique(data)]
    # Counting a plane at a time is many times faster than sorting the volume.
    is_present = np.zeros(int(data.max()) + 1, dtype=bool)
    for plane in data:
        is_present |= np.bincount(plane.ravel().astype(np.intp), minlength=len(is_present)) > 0
    return [int(value) for value in np.flatnonzero(is_present)]


def _neighbours_agree(data: np.ndarray) -> bool:
    first, second = data[..., :-1], data[..., 1:]
    counted = (first > 0) & (second > 0)
    return bool(counted.any() and (first == second)[counted].mean() > 0.5)


def _whole_numbers(data: np.ndarray, name: str) -> np.ndarray:
    low, high = data.min(), data.max()
    if not np.isfinite(low) or not np.isfinite(high):
        count = int((~np.isfinite(data)).sum())
        raise VolumeError(
            f"The label {name!r} holds NaN or infinite values in {count} "
            f"voxel{'s' * (count > 1)}; labels are whole numbers, so correct it and save it again."
        )
    if low < 0:
        raise VolumeError(
            f"The label {name!r} holds the negative value {low:g}; labels are 0 or more."
        )
    if high >= 2.0**53:
        raise VolumeError(f"The label {name!r} holds {high:g}, too large for a class.")
    whole = data.astype(smallest_type(int(high)))
    different = whole != data
    if different.any():
        raise VolumeError(
            f"The label {name!r} holds fractions such as {data[different].flat[0]:g}; labels are "
            "whole numbers. It may be a probability map, or resampled with interpolation."
        )
    return whole


def _from_one_hot(data: np.ndarray, name: str) -> np.ndarray:
    is_binary = all(bool(((one == 0) | (one == 1)).all()) for one in data)
    if not is_binary or not (data.sum(axis=0, dtype=np.int64) == 1).all():
        raise VolumeError(
            f"The label {name!r} has {len(data)} channels that are not one-hot (exactly one set "
            "in every voxel, the background included); save it as a single map of class values."
        )
    values = np.zeros((1, *data.shape[1:]), dtype=smallest_type(len(data) - 1))
    for value, channel in enumerate(data):
        values[0][channel != 0] = value
    return values
