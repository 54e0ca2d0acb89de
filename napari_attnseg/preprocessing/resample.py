"""Linear resampling of arrays to another number of voxels over the same box.

Voxel u of the result lies at ``(u + 0.5) * stride - 0.5`` of the input, which is where
`Grid.resized` places it. Enlarging interpolates linearly. Shrinking averages the linear
interpolant over the part of a voxel that interpolation would skip, so that a thin structure does
not vanish between samples; the window is symmetric and inside the array, so a ramp stays exact.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_attnseg.axes import Size
from napari_attnseg.preprocessing.label_values import value_counts


def linear_weights(inputs: int, outputs: int) -> np.ndarray:
    """Return the matrix, ``(outputs, inputs)`` float32, that interpolates one axis linearly."""
    centre = np.clip(_centres(inputs, outputs), 0, inputs - 1)
    return np.maximum(0, 1 - np.abs(centre - np.arange(inputs)[None, :])).astype(np.float32)


def weights(inputs: int, outputs: int) -> np.ndarray:
    """Return the matrix, ``(outputs, inputs)`` float32, that resamples one axis; rows add to 1."""
    if outputs >= inputs:
        return linear_weights(inputs, outputs)
    apart = _centres(inputs, outputs) - np.arange(inputs)[None, :]
    half = (inputs / outputs - 1) / 2
    area = _area_of_hat(apart + half) - _area_of_hat(apart - half)
    return (area / (2 * half)).astype(np.float32)


def resample(array: np.ndarray, shape_dhw: Size) -> np.ndarray:
    """Return an array ``(..., D, H, W)`` with other sizes, as float32."""
    result = np.asarray(array, dtype=np.float32)
    sizes = zip((-3, -2, -1), shape_dhw, strict=True)
    # The axis that shrinks most goes first: less remains for the others.
    for axis, size in sorted(sizes, key=lambda pair: pair[1] / result.shape[pair[0]]):
        if result.shape[axis] != size:
            result = _along(result, axis, weights(result.shape[axis], size))
    return result


def resample_labels(label: np.ndarray, shape_dhw: Size) -> np.ndarray:
    """Return a label map ``(D, H, W)`` with other sizes: the value with most of each voxel.

    Each value's mask is resampled linearly and the largest wins, the smaller value where two are
    equal. Unlike the nearest voxel, this neither shifts a boundary nor makes it jagged.
    """
    if label.shape == tuple(shape_dhw):
        return label
    matrices = [weights(a, b) for a, b in zip(label.shape, shape_dhw, strict=True)]
    best = np.zeros(shape_dhw, dtype=np.float32)
    result = np.zeros(shape_dhw, dtype=label.dtype)
    for value, box in _boxes(label):
        share, place = _share(label[box] == value, matrices, box)
        wins = share > best[place]
        best[place][wins] = share[wins]
        result[place][wins] = value
    return result


def _centres(inputs: int, outputs: int) -> np.ndarray:
    return (np.arange(outputs)[:, None] + 0.5) * (inputs / outputs) - 0.5


def _area_of_hat(x: np.ndarray) -> np.ndarray:
    """Return the integral up to x of the weight that linear interpolation gives a voxel at 0."""
    x = np.clip(x, -1, 1)
    return 0.5 + x - np.sign(x) * x**2 / 2


def _along(array: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    if axis == -1:
        return np.matmul(array, matrix.T)
    if axis == -2:
        return np.matmul(matrix, array)
    flat = array.reshape(*array.shape[:-2], -1)  # (..., D, H * W)
    return np.matmul(matrix, flat).reshape(*array.shape[:-3], -1, *array.shape[-2:])


def _boxes(label: np.ndarray) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Yield each value that occurs with the smallest box around it, smaller values first."""
    for value in value_counts(label):
        mask = label == value
        box = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            found = np.flatnonzero(mask.any(axis=others))
            box.append(slice(int(found[0]), int(found[-1]) + 1))
        yield value, tuple(box)


def _share(
    mask: np.ndarray, matrices: list[np.ndarray], box: tuple[slice, ...]
) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Return how much of each new voxel a mask in a box fills, and where those voxels are."""
    share: np.ndarray = mask.astype(np.float32)
    place = []
    for axis, (matrix, part) in enumerate(zip(matrices, box, strict=True)):
        touched = np.flatnonzero(matrix[:, part].any(axis=1))
        if not len(touched):
            return np.zeros((0, 0, 0), np.float32), (slice(0, 0),) * 3
        rows = slice(int(touched[0]), int(touched[-1]) + 1)
        share = _along(share, axis - 3, np.ascontiguousarray(matrix[rows, part]))
        place.append(rows)
    return share, tuple(place)
