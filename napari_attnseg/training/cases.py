"""Cases made ready for the network once, and kept where a patch can be cut from them at once."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.cohort.project_case import ProjectCase
from napari_attnseg.io import read_volume
from napari_attnseg.losses import IGNORE_INDEX
from napari_attnseg.preprocessing import Plan, preprocess, preprocess_label
from napari_attnseg.training.reports import ProgressReport, Report, WarningReport
from napari_attnseg.training.sampling import foreground_points
from napari_attnseg.volume import Volume, require_same_grid

logger = logging.getLogger(__name__)

MEMORY_SHARE = 0.4
"""Part of the free memory that cases may fill; the rest of them are mapped from disk."""

ASSUMED_FREE_BYTES = 4 * 2**30
"""Taken as free where the system does not say."""


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""


@dataclass(frozen=True)
class TrainingCase:
    """One case by its files.

    Args:
        name: Name of the case in its project.
        images: File by channel name, in the network's order.
        label: File of the label map, or None.
    """

    name: str
    images: Mapping[str, Path]
    label: Path | None

    @classmethod
    def of(cls, case: ProjectCase) -> TrainingCase:
        """Return a project's case as one to learn from or to check on."""
        images = {channel: Path(path) for channel, path in case.images.items()}
        return cls(case.name, images, None if case.label is None else Path(case.label))

    def read_image(self) -> Volume:
        """Return all channels as one float32 volume.

        Raises:
            GridMismatchError: If the channels are on different grids.
        """
        volumes = {path: read_volume(path) for path in dict.fromkeys(self.images.values())}
        first = next(iter(volumes.values()))
        taken: Counter[Path] = Counter()
        parts = []
        for channel, path in self.images.items():
            one = volumes[path]
            require_same_grid(first.grid, one.grid, names=("first image", f"{channel} image"))
            # Channels that name one file are its channels, in their order.
            at = taken[path]
            taken[path] += 1
            is_shared = list(self.images.values()).count(path) > 1
            parts.append(one.data[at : at + 1] if is_shared else one.data)
        data = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return first.replace(data=data.astype(np.float32, copy=False), storage=None)

    def read_label(self) -> Volume:
        """Return the label map with the file's own class values."""
        if self.label is None:
            raise TrainingError(f"The case {self.name} has no label.")
        return read_volume(self.label, labels=True)


@contextmanager
def naming(case: TrainingCase) -> Iterator[None]:
    """Say of which case it is that something is wrong: many cases may have files of one name.

    Raises:
        TrainingError: In place of a `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        raise TrainingError(f"The case {case.name} cannot be used: {error}") from error


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case on the network's grid.

    Args:
        name: Name of the case.
        image: ``(C, D, H, W)``, normalised float32.
        label: Channel indices ``(D, H, W)``, uint8; 255 is not learned from.
        foreground: Some voxels ``(n, 3)`` of each class that is present.
        counts: Voxels by channel index.
        unusable: Voxels of the image that are NaN or infinite, taken as outside the body.
    """

    name: str
    image: Tensor
    label: Tensor
    foreground: list[np.ndarray]
    counts: np.ndarray
    unusable: int = 0

    @property
    def shape_dhw(self) -> Size:
        """Voxels along D, H and W."""
        d, h, w = self.label.shape
        return d, h, w

    def place(self, index: int, axis: int) -> float | None:
        """Return where a class lies along an axis, from -1 to 1, or None if it is absent."""
        values = range(1, len(self.counts))
        present = [value for value in values if self.counts[value] and value != IGNORE_INDEX]
        if index not in present:
            return None
        points = self.foreground[present.index(index)][:, axis]
        return float(2 * points.mean() / max(1, self.label.shape[axis] - 1) - 1)


@dataclass
class Shelf:
    """Keeps arrays in memory while there is room, and on disk after that.

    Args:
        folder: Where arrays go that do not fit.
        free_bytes: Room in memory.
    """

    folder: Path
    free_bytes: float

    def keep(self, name: str, array: np.ndarray) -> Tensor:
        """Return the array as a tensor, in memory or mapped from a file."""
        self.free_bytes -= array.nbytes
        if self.free_bytes > 0:
            return torch.from_numpy(np.ascontiguousarray(array))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.npy"
        np.save(path, array)
        return torch.from_numpy(np.load(path, mmap_mode="c"))


def prepare_cases(
    cases: Sequence[TrainingCase],
    *,
    plan: Plan,
    values: Sequence[int],
    ignore_label: int | None,
    shelf: Shelf,
    should_stop: Callable[[], bool],
) -> Generator[Report, None, list[PreparedCase]]:
    """Read and preprocess cases; those without a label are left out with a warning.

    Args:
        cases: What to read.
        plan: How the network wants its input.
        values: Class values in label files, ascending, without the background.
        ignore_label: Value in label files that is not learned from.
        shelf: Where the results are kept.
        should_stop: Asked after every case.

    Raises:
        TrainingError: If a case cannot be used, such as a label on another grid.
    """
    prepared: list[PreparedCase] = []
    for done, case in enumerate(cases, start=1):
        if case.label is None:
            yield WarningReport(f"The case {case.name} has no label; it is not learned from.")
            continue
        with naming(case):
            prepared.append(_prepare(case, plan, values, ignore_label, shelf))
        yield ProgressReport(done, len(cases), f"Reading {case.name}")
        if should_stop():
            break
    return prepared


def _prepare(
    case: TrainingCase,
    plan: Plan,
    values: Sequence[int],
    ignore_label: int | None,
    shelf: Shelf,
) -> PreparedCase:
    image, label = case.read_image(), case.read_label()
    require_same_grid(image.grid, label.grid, names=(f"image of {case.name}", "label"))
    unusable = sum(int(part.size - np.isfinite(part).sum()) for part in image.data)
    ready = preprocess(image, plan)
    target = preprocess_label(label, plan, values, ignore_label=ignore_label)
    channels = target.data[0].astype(np.uint8, copy=False)
    counts = np.bincount(channels.reshape(-1), minlength=256)
    points = foreground_points(channels, len(values), np.random.default_rng(0))
    logger.info("Prepared %s, %s voxels", case.name, channels.shape)
    return PreparedCase(
        case.name,
        shelf.keep(f"{case.name}_image", ready.data),
        shelf.keep(f"{case.name}_label", channels),
        points,
        counts,
        unusable,
    )


def absent_classes(cases: Sequence[PreparedCase], classes: Mapping[int, str]) -> list[str]:
    """Return the names of the classes that occur in no case."""
    total = sum((case.counts for case in cases), start=np.zeros(256, dtype=np.int64))
    names = [classes[value] for value in sorted(classes)]
    return [name for index, name in enumerate(names, start=1) if total[index] == 0]


def free_memory_bytes() -> float:
    """Return the memory that the system says is free."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float(ASSUMED_FREE_BYTES)
