"""Windows over a volume: where they start, what each of them counts, and the sum of all of them.

Starts are multiples of what the network strides over, so that the feature maps of all windows lie
on one grid and class activation maps can be put together without resampling. Weights are Gaussian,
separable, and normalised beforehand: those of all windows add up to one at every voxel, so results
are summed once and never divided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.axes import Size, Spacing

SIGMA = 1 / 8
"""Width of the Gaussian window weight, as a fraction of the window."""


Starts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class WindowPlan:
    """Equal windows whose starts are the product of one list per axis.

    Args:
        size: Voxels of the volume along D, H and W.
        window: Voxels for which one window gives logits.
        starts: First voxel of the windows, one ascending list per axis; a window may reach beyond
            the end of the volume, never before its beginning.
        margin: Voxels of context that the network wants around a window.
        is_flat: Whether the network sees slices one by one, so that no slice of a window is
            better than another.
    """

    size: Size
    window: Size
    starts: Starts
    margin: Size = (0, 0, 0)
    is_flat: bool = False

    def __len__(self) -> int:
        return math.prod(len(one) for one in self.starts)

    def __iter__(self) -> Iterator[Size]:
        """Yield the start of every window along D, H and W."""
        return cast("Iterator[Size]", product(*self.starts))

    def cut(self, x: Tensor, start: Size) -> Tensor:
        """Return a window with its margin of a volume ``(1, C, D, H, W)``.

        What lies outside the volume repeats its border. Without that it is a view.
        """
        inside: list[slice] = []
        beyond: list[int] = []
        for axis in range(3):
            low = start[axis] - self.margin[axis]
            high = start[axis] + self.window[axis] + self.margin[axis]
            inside.append(slice(max(low, 0), min(high, self.size[axis])))
            beyond = [max(-low, 0), max(high - self.size[axis], 0), *beyond]
        d, h, w = inside
        part = x[..., d, h, w]
        return F.pad(part, beyond, mode="replicate") if any(beyond) else part

    def centre(self, values: Tensor) -> Tensor:
        """Return the part of a network's result that a window answers for, without the margin.

        Raises:
            ValueError: If the result fits neither the window nor the window with its margin.
        """
        found = tuple(values.shape[-3:])
        if found == self.window:
            return values
        pairs = zip(self.window, self.margin, strict=True)
        if found != tuple(w + 2 * m for w, m in pairs):
            raise ValueError(
                f"The network gave {found} voxels for a window of {self.window}; its margin must "
                "be wrong."
            )
        d, h, w = (slice(m, m + n) for m, n in zip(self.margin, self.window, strict=True))
        return values[..., d, h, w]


def plan_windows(
    size: Size,
    patch_size: Sequence[int],
    *,
    overlap: float = 0.5,
    multiple: Size = (1, 1, 1),
    margin: Size = (0, 0, 0),
    is_flat: bool = False,
) -> WindowPlan:
    """Return windows that cover a volume.

    Along an axis that fits into the patch there is one window of just the volume's size, so that
    a volume smaller than the patch is seen as a plain forward pass would see it. Elsewhere windows
    have the patch's size, rounded up to the multiple, and the last one ends less than a multiple
    beyond the volume.

    Args:
        size: Voxels of the volume along D, H and W.
        patch_size: Voxels of a training patch.
        overlap: Least fraction of a window that its neighbour shares, as far as the multiple
            allows.
        multiple: What starts and window sizes are multiples of.
        margin: Context that the network wants around a window.
        is_flat: Whether D is a batch of slices; these need no overlap.
    """
    windows: list[int] = []
    starts: list[tuple[int, ...]] = []
    for axis in range(3):
        step = multiple[axis]
        window = math.ceil(patch_size[axis] / step) * step
        if size[axis] <= window:
            windows.append(size[axis])
            starts.append((0,))
            continue
        shared = 0.0 if is_flat and axis == 0 else overlap
        windows.append(window)
        starts.append(_starts(size[axis], window, step, shared))
    return WindowPlan(
        cast("Size", tuple(size)), cast("Size", tuple(windows)), _three(starts), margin, is_flat
    )


def _starts(size: int, window: int, step: int, overlap: float) -> tuple[int, ...]:
    """Return even starts, in multiples of a step, at most ``window * (1 - overlap)`` apart."""
    last = math.ceil((size - window) / step)  # in steps
    furthest = max(1, math.floor(window * (1 - overlap) / step + 1e-9))
    gaps = math.ceil(last / furthest)
    return tuple(step * round(at * last / gaps) for at in range(gaps + 1))


class Canvas:
    """The sum of all windows' values on one grid, of full or of lower resolution.

    Args:
        plan: The windows.
        cells: Values of one window along D, H and W.
        stride: Voxels of the volume from one value to the next.
        offset: Where the first value of a window lies, in voxels from the window's start.

    Raises:
        ValueError: If the starts of the windows are not multiples of the stride.
    """

    def __init__(
        self,
        plan: WindowPlan,
        cells: Size | None = None,
        stride: Spacing = (1.0, 1.0, 1.0),
        offset: Spacing = (0.0, 0.0, 0.0),
    ) -> None:
        self.plan = plan
        self.stride = stride
        self.offset = offset
        self.cells: Size = plan.window if cells is None else cells
        self._first = [_cell_starts(plan.starts[a], stride[a]) for a in range(3)]
        # Full resolution ends with the volume; lower ones keep what padding added to their end.
        ends = tuple(self._first[a][-1] + self.cells[a] for a in range(3))
        self.size: Size = plan.size if cells is None else ends  # type: ignore[assignment]
        self._weights = [self._axis_weights(axis) for axis in range(3)]

    def empty(self, channels: int, device: torch.device | str = "cpu") -> Tensor:
        """Return zeros, ``(channels, d, h, w)`` in float32, to add windows to.

        A GPU that is too full for them leaves them to the CPU.
        """
        try:
            return torch.zeros((channels, *self.size), device=device)
        except torch.cuda.OutOfMemoryError:
            return torch.zeros((channels, *self.size))

    def weight(self, start: Size) -> Tensor:
        """Return the weight of a window's values, ``(d, h, w)``; all windows add up to one."""
        d, h, w = (self._weights[a][self.plan.starts[a].index(start[a])] for a in range(3))
        return d[:, None, None] * h[:, None] * w

    def share(self, start: Size) -> float:
        """Return the fraction of the canvas that a window accounts for; all add up to one."""
        share = 1.0
        for axis in range(3):
            at = self.plan.starts[axis].index(start[axis])
            kept = self._weights[axis][at][: self.size[axis] - self._first[axis][at]]
            share *= float(kept.sum()) / self.size[axis]
        return share

    def add(self, total: Tensor, start: Size, values: Tensor, *, is_weighted: bool) -> None:
        """Add a window's values, ``(C, d, h, w)``, where they belong, in place.

        Args:
            total: What `empty` returned.
            start: The window's start.
            values: Of one window.
            is_weighted: Whether to multiply by the window's weight first.
        """
        here, kept = [], []
        for axis in range(3):
            first = self._first[axis][self.plan.starts[axis].index(start[axis])]
            count = min(self.cells[axis], self.size[axis] - first)
            here.append(slice(first, first + count))
            kept.append(slice(0, count))
        part = total[(slice(None), *here)]
        values = values[(slice(None), *kept)].to(part.device, part.dtype)
        if is_weighted and len(self.plan) > 1:
            part.addcmul_(values, self.weight(start)[tuple(kept)].to(part.device))
        else:
            part.add_(values)

    def _axis_weights(self, axis: int) -> list[Tensor]:
        cells, window = self.cells[axis], self.plan.window[axis]
        at = self.offset[axis] + self.stride[axis] * np.arange(cells)
        bell = np.exp(-0.5 * ((at - (window - 1) / 2) / (SIGMA * window)) ** 2)
        if self.plan.is_flat and axis == 0:
            bell = np.ones(cells)
        total = np.zeros(self._first[axis][-1] + cells)
        for first in self._first[axis]:
            total[first : first + cells] += bell
        return [
            torch.from_numpy(bell / total[first : first + cells]).float()
            for first in self._first[axis]
        ]


def _three(starts: list[tuple[int, ...]]) -> Starts:
    d, h, w = starts
    return d, h, w


def _cell_starts(starts: Sequence[int], stride: float) -> list[int]:
    cells = [start / stride for start in starts]
    if any(abs(cell - round(cell)) > 1e-6 for cell in cells):
        raise ValueError(
            f"Windows that start at {list(starts)} do not meet on a grid of stride {stride:g}; "
            "the network's size_multiple must be a multiple of every stride."
        )
    return [round(cell) for cell in cells]
