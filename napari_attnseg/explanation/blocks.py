"""Blocks of voxels that are taken out of an image together, in the order of a map."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from napari_attnseg.axes import Size
from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.subject import Box

Score = Callable[[np.ndarray], Generator[None, None, float]]
"""Yields while it works, and returns the score of an image ``(C, d, h, w)``."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The cells of a map around a region, as blocks of voxels.

    Args:
        index: ``(d, h, w)``: block of each voxel, counted from 0; -1 where nothing is taken out.
        cells: Of each block, the flat index of its cell in the map.
    """

    index: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, heat: Heat, shape: Size, reach: Box, allowed: np.ndarray | None = None) -> Blocks:
        """Return the blocks of a map's cells.

        Args:
            heat: The map.
            shape: Of the network's input along D, H and W.
            reach: Part of it that is looked at.
            allowed: Boolean, of the size of that part; voxels that may be taken out.
        """
        d, h, w = (heat.cell_of(axis, shape[axis])[reach[axis]] for axis in range(3))
        flat = np.ravel_multi_index(np.ix_(d, h, w), heat.values.shape)
        found = flat if allowed is None else flat[allowed]
        cells, index = np.unique(found, return_inverse=True)
        if allowed is None:
            return cls(index.reshape(flat.shape), cells)
        whole = np.full(flat.shape, -1, dtype=np.int64)
        whole[allowed] = index.reshape(-1)
        return cls(whole, cells)

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def sizes(self) -> np.ndarray:
        """Voxels of each block."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self))

    def means(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of voxel values ``(d, h, w)`` in each block."""
        inside = self.index >= 0
        sums = np.bincount(
            self.index[inside], weights=values[inside].astype(np.float64), minlength=len(self)
        )
        return cast("np.ndarray", sums / np.maximum(self.sizes, 1))

    def values(self, heat: Heat) -> np.ndarray:
        """Return the map's value of each block."""
        return cast("np.ndarray", heat.values.reshape(-1)[self.cells].astype(np.float64))

    def first(self, order: np.ndarray, count: int) -> np.ndarray:
        """Return where the first blocks of an order lie, boolean ``(d, h, w)``."""
        chosen = np.zeros(len(self) + 1, dtype=bool)  # the last one is that of index -1
        chosen[order[:count]] = True
        return cast("np.ndarray", chosen[self.index])


def descending(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the order of values from the largest; equal ones come in random order.

    Without that, what a map leaves at one value would be taken out row by row.
    """
    return np.lexsort((rng.random(len(values)), -values))


def counts(blocks: int, steps: int) -> list[int]:
    """Return how many blocks are gone after each step, from none to all."""
    step = -(-blocks // steps)
    return [*range(0, blocks, step), blocks]


def replacement_curve(
    blocks: Blocks,
    order: np.ndarray,
    images: tuple[np.ndarray, np.ndarray],
    steps: int,
    score: Score,
) -> Generator[None, None, tuple[list[float], list[float]]]:
    """Return what replacing block after block does: replaced fractions of voxels, and scores.

    Args:
        blocks: What is replaced.
        order: In which order.
        images: Before, and after all is replaced, ``(C, d, h, w)`` each.
        steps: In how many steps.
        score: Of an image.
    """
    before, after = images
    sizes, whole = blocks.sizes, max(1, int(blocks.sizes.sum()))
    fractions, scores = [], []
    for count in counts(len(blocks), steps):
        gone = blocks.first(order, count)
        fractions.append(float(sizes[order[:count]].sum()) / whole)
        scores.append((yield from score(np.where(gone, after, before))))
    return fractions, scores


def area(fractions: Sequence[float], scores: Sequence[float]) -> float:
    """Return the area under a curve by the trapezoid rule, over the fractions really reached."""
    return float(np.trapezoid(np.asarray(scores), np.asarray(fractions)))
