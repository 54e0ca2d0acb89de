"""Results back from the network's grid onto the grid of the input.

The full set of class scores on the input's grid is never held: a slab at a time is enlarged, one
class after the other, and only the best class so far is kept with its score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.preprocessing.plan import Plan
from napari_attnseg.preprocessing.resample import linear_weights
from napari_attnseg.preprocessing.spacing import network_shape
from napari_attnseg.volume import Grid, Volume, require_same_grid

SLAB_VOXELS = 2**20
"""Voxels enlarged at a time; a few such arrays of float32 live at once."""

MOST_ROWS = 32
"""Rows along D of a slab, however small their planes."""


def restore_labels(logits: Tensor, grid: Grid, plan: Plan, values: Sequence[int]) -> Volume:
    """Return the most likely class of each voxel on the input's own grid.

    Args:
        logits: ``(K, d, h, w)`` on the network's grid, of any float type, on any device.
        grid: The input's grid, in its own storage order.
        plan: The plan of the network.
        values: Label value of channels 1, 2, ...; a mapping from them to names will do.

    Returns:
        ``(1, D, H, W)``, the smallest unsigned type that holds the values. Where two classes
        score the same, the first wins.

    Raises:
        ValueError: If the logits are not of this grid, or the number of values is not K - 1.
    """
    stored = _stored_grid(logits.shape[-3:], grid, plan)
    table = _value_table(logits.shape[0], list(values))
    labels = np.empty(stored.shape_dhw, dtype=table.dtype)
    with _exactly(logits):
        for rows, enlarge in _slabs(logits, stored.shape_dhw):
            labels[rows] = table[_best_class(enlarge, logits.shape[0]).cpu().numpy()]
    return _as_input(labels[None], stored, grid)


def restore_scalar(array: np.ndarray | Tensor, grid: Grid, plan: Plan) -> Volume:
    """Return values such as an uncertainty on the input's own grid, float32.

    Args:
        array: ``(d, h, w)`` or ``(C, d, h, w)`` on the network's grid.
        grid: The input's grid, in its own storage order.
        plan: The plan of the network.

    Raises:
        ValueError: If the array is not of this grid.
    """
    tensor = torch.as_tensor(array)
    tensor = tensor[None] if tensor.ndim == 3 else tensor
    stored = _stored_grid(tensor.shape[-3:], grid, plan)
    result = np.empty((tensor.shape[0], *stored.shape_dhw), dtype=np.float32)
    with _exactly(tensor):
        for rows, enlarge in _slabs(tensor, stored.shape_dhw):
            for channel in range(tensor.shape[0]):
                result[channel, rows] = enlarge(channel).cpu().numpy()
    return _as_input(result, stored, grid)


def restore_probabilities(logits: Tensor, grid: Grid, plan: Plan) -> Volume:
    """Return the probability of each class on the input's own grid, float32.

    The softmax comes after enlarging, so that the largest probability is that of `restore_labels`.
    Arguments and errors as there.

    Returns:
        ``(K, D, H, W)``.
    """
    stored = _stored_grid(logits.shape[-3:], grid, plan)
    result = np.empty((logits.shape[0], *stored.shape_dhw), dtype=np.float32)
    with _exactly(logits):
        for rows, enlarge in _slabs(logits, stored.shape_dhw, at_once=logits.shape[0]):
            scores = torch.stack([enlarge(channel) for channel in range(logits.shape[0])])
            result[:, rows] = torch.softmax(scores, dim=0).cpu().numpy()
    return _as_input(result, stored, grid)


Enlarge = Callable[[int], Tensor]
"""Gives one channel of a slab on the input's grid, ``(n, H, W)`` float32."""


@contextmanager
def _exactly(scores: Tensor) -> Iterator[None]:
    """Reckon without gradients and, even where the caller's network runs in half, in float32."""
    with torch.inference_mode(), torch.autocast(scores.device.type, enabled=False):
        yield


def _slabs(
    scores: Tensor, shape_dhw: Size, *, at_once: int = 1
) -> Iterator[tuple[slice, Enlarge]]:
    """Yield slabs of the enlarged volume: their rows along D, and what enlarges a channel."""
    depth, height, width = shape_dhw
    thick = min(MOST_ROWS, max(1, SLAB_VOXELS // (height * width * at_once)))
    is_deep = scores.shape[1] == depth
    along_d = torch.from_numpy(linear_weights(scores.shape[1], depth)).to(scores.device)
    for start in range(0, depth, thick):
        rows = slice(start, min(start + thick, depth))
        if is_deep:
            yield rows, partial(_enlarge, scores[:, rows], None, (height, width))
            continue
        used = torch.nonzero(along_d[rows].any(dim=0))
        source = slice(int(used[0]), int(used[-1]) + 1)
        yield rows, partial(_enlarge, scores[:, source], along_d[rows, source], (height, width))


def _enlarge(
    scores: Tensor, along_d: Tensor | None, plane: tuple[int, int], channel: int
) -> Tensor:
    slab = scores[channel].float()  # (d, h, w)
    depth, *size = slab.shape
    if along_d is None and tuple(size) == plane:
        return slab
    if along_d is None:
        slab = slab.permute(1, 2, 0).contiguous()
    else:
        slab = torch.mm(slab.reshape(depth, -1).T, along_d.T)
    # Rows along D lie next to each other in memory, where interpolation takes them all at once;
    # it recognises that by strides which a plain unsqueeze would not give.
    slab = slab.reshape(1, *size, -1).permute(0, 3, 1, 2)  # (1, n, h, w)
    if tuple(size) != plane:
        slab = F.interpolate(slab, size=plane, mode="bilinear", align_corners=False)
    return slab[0]


def _best_class(enlarge: Enlarge, classes: int) -> Tensor:
    """Return the index of the largest score of a slab, ``(n, H, W)`` int16."""
    best = enlarge(0)
    # Comparing into float32 is several times faster than into bool, and exact for any index.
    index, wins = torch.zeros_like(best), torch.empty_like(best)
    for channel in range(1, classes):
        score = enlarge(channel)
        # A running maximum, since torch.argmax over the first axis is many times slower on a CPU.
        # Channels only rise, so a maximum keeps the index as well.
        torch.gt(score, best, out=wins)
        torch.maximum(index, wins.mul_(channel), out=index)
        best = torch.maximum(best, score)
    return index.to(torch.int16)


def _stored_grid(found: Sequence[int], grid: Grid, plan: Plan) -> Grid:
    stored = grid.reoriented(plan.orientation)
    expected = network_shape(stored.shape_dhw, stored.spacing_dhw, plan.spacing_dhw)  # type: ignore[arg-type]
    if tuple(found) != expected:
        raise ValueError(
            f"The network's result has {tuple(found)} voxels along D, H, W; this image and plan "
            f"give {expected}. They do not belong together."
        )
    return stored


def _value_table(channels: int, values: list[int]) -> np.ndarray:
    if channels != len(values) + 1:
        raise ValueError(
            f"The network gives {channels} channels, but there are {len(values)} label values; "
            "one channel is the background, so there should be one less."
        )
    table = np.array([0, *values])
    return table.astype(np.min_scalar_type(int(table.max())))


def _as_input(data: np.ndarray, stored: Grid, grid: Grid) -> Volume:
    """Return an array on the stored grid in the storage order of the input, with its affine."""
    back = Volume(data, stored.affine).parallel_to(grid)
    require_same_grid(grid, back.grid, names=("input", "result"))
    return Volume(np.ascontiguousarray(back.data), grid.affine)
