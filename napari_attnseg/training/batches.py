"""Batches made ahead of the network in background threads, each by its number alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.training.augment import Augmentation
from napari_attnseg.training.cases import PreparedCase
from napari_attnseg.training.sampling import Sampler

AHEAD = 3
"""Batches that are made before they are asked for."""


@dataclass(frozen=True)
class Batch:
    """Patches of one step.

    Args:
        image: ``(B, C, d, h, w)``, float32; larger than the label where the network wants context.
        label: ``(B, d, h, w)``, int64.
    """

    image: Tensor
    label: Tensor


@dataclass(frozen=True)
class BatchMaker:
    """Cuts the batch of a step; the same step always gives the same batch.

    Args:
        cases: Where patches are cut from.
        sampler: Says which.
        augmentation: Changes them.
        batch_size: Patches of a batch.
        margin: Voxels around a patch that the network wants to see beside it.
    """

    cases: list[PreparedCase]
    sampler: Sampler
    augmentation: Augmentation
    batch_size: int
    margin: Size = (0, 0, 0)

    def make(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        cut = []
        for number in range(step * self.batch_size, (step + 1) * self.batch_size):
            place = self.sampler.place(number)
            case = self.cases[place.case]
            seen: Any = tuple(
                n + 2 * m for n, m in zip(self.sampler.patch_size, self.margin, strict=True)
            )
            image, label = self.augmentation.cut(
                case.image, case.label, place.centre_dhw, seen, place.rng
            )
            d, h, w = (slice(m, n - m) for n, m in zip(seen, self.margin, strict=True))
            cut.append((image, label[d, h, w]))
        images, labels = zip(*cut, strict=True)
        return Batch(torch.stack(images), torch.stack(labels))


class BatchStream:
    """Yields batches in order while threads make the next ones.

    Args:
        make: Makes the batch of a step.
        first_step: Step that the stream starts at.
        workers: Number of threads.
    """

    def __init__(self, make: Callable[[int], Batch], *, first_step: int, workers: int) -> None:
        self._make = make
        self._next = first_step
        self._waiting: deque[Future[Batch]] = deque()
        # One thread each: PyTorch would otherwise give every worker as many as the network has,
        # and they would wait for each other.
        self._pool = ThreadPoolExecutor(
            workers, thread_name_prefix="batches", initializer=torch.set_num_threads, initargs=(1,)
        )
        threads = torch.get_num_threads()
        try:
            self._fill()
            self._waiting[0].result()
        except BaseException:
            self._pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self) -> Batch:
        """Return the next batch."""
        batch = self._waiting.popleft().result()
        self._fill()
        return batch

    def _fill(self) -> None:
        while len(self._waiting) < AHEAD:
            self._waiting.append(self._pool.submit(self._make, self._next))
            self._next += 1
