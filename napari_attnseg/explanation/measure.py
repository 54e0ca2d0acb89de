"""What a measure of a map is, and the rows that stand beside the map's own result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.explanation.blocks import Blocks, descending
from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.subject import Subject
from napari_attnseg.models import SegmentationModel
from napari_attnseg.registry import Registry

FORMS = ("quick", "full")

Value = TypeVar("Value")
Work = Generator[None, None, Value]
"""Yields after every window that a network has seen, and returns its result."""

Remake = Callable[[SegmentationModel, Tensor, Tensor], Work[Heat]]
"""Makes the map again, of another network, another input or another region."""


@dataclass(frozen=True, eq=False)
class CheckedMap:
    """A map and all that measuring it takes.

    Args:
        subject: Network, image and region.
        heat: The map.
        spacing: Voxel size of the network's grid in mm along D, H and W.
        remake: Makes the map again under other circumstances.
        remake_windows: How often that runs the network.
        layer: That it is a map of.
        form: One of `FORMS`.
        seed: Of everything random.
    """

    subject: Subject
    heat: Heat
    spacing: Spacing
    remake: Remake
    remake_windows: int
    layer: str = ""
    form: str = "quick"
    seed: int = 0

    @property
    def windows(self) -> int:
        """Windows that one score takes."""
        return len(self.subject.starts)

    @property
    def is_full(self) -> bool:
        return self.form == "full"

    @property
    def shape(self) -> Size:
        """Voxels of the network's input along D, H and W."""
        return self.subject.plan.size

    def rng(self) -> np.random.Generator:
        """Return a generator of random numbers, the same for every measure."""
        return np.random.default_rng(self.seed)

    def blocks(self, allowed: np.ndarray | None = None) -> Blocks:
        """Return the map's cells around the region as blocks; see `Blocks.of`."""
        return Blocks.of(self.heat, self.shape, self.subject.reach, allowed)

    def score(self, image: np.ndarray) -> Work[float]:
        """Return the score of another image around the region, ``(C, d, h, w)``."""
        return self.subject.score(self.subject.changed(image))

    def millimetres_outside(self) -> np.ndarray:
        """Return the distance of every voxel around the region from it, 0 inside."""
        return np.asarray(distance_transform_edt(~self.subject.mask, sampling=self.spacing))


@dataclass(frozen=True, eq=False)
class Row:
    """An order in which blocks are taken out, or several of one kind.

    Args:
        name: ``"map"``, ``"random"``, ``"oracle"`` or ``"nearest"``.
        title: For people.
        orders: Of blocks.
    """

    name: str
    title: str
    orders: Sequence[np.ndarray]


def rows(checked: CheckedMap, blocks: Blocks, randoms: int) -> list[Row]:
    """Return the map's own order, random ones, and that of the mask itself."""
    rng = checked.rng()
    mask = blocks.means(checked.subject.mask)
    return [
        Row("map", "this map", [descending(blocks.values(checked.heat), rng)]),
        Row("oracle", "the mask itself", [descending(mask, rng)]),
        Row("random", "random maps", [rng.permutation(len(blocks)) for _ in range(randoms)]),
    ]


@dataclass(frozen=True)
class Result:
    """What a measure found.

    Args:
        value: Of the map; None where there is none.
        sentence: What it means, in plain words.
        rows: For bars: ``name``, ``title``, ``value`` and ``spread`` of each row.
        curves: For lines: ``row``, ``title``, ``x``, ``y``, ``x_title`` and ``y_title``.
        more: Further JSON-ready values.
    """

    value: float | None
    sentence: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


class Measure(ABC):
    """One measure of a map; the first line of its docstring is its tooltip."""

    title: str = ""
    """Name for people."""
    forms: tuple[str, ...] = ("full",)
    """In which forms of a check it is taken."""
    better: str = "higher"
    """``"higher"``, ``"lower"``, or ``"none"`` where neither is better."""

    @abstractmethod
    def windows(self, checked: CheckedMap) -> int:
        """Return how often the network will be run on a window."""

    @abstractmethod
    def steps(self, checked: CheckedMap) -> Work[Result]:
        """Yield after every window, and return what was found."""

    def to_json(self, result: Result) -> dict[str, Any]:
        """Return a result with what the measure is."""
        return {
            "title": self.title,
            "summary": (type(self).__doc__ or "").strip().splitlines()[0],
            "better": self.better,
            "value": result.value,
            "sentence": result.sentence,
            "rows": result.rows,
            "curves": result.curves,
            **result.more,
        }


def summarised(row: Row, values: Sequence[float]) -> dict[str, Any]:
    """Return a row's mean and, of several values, their standard deviation."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "name": row.name,
        "title": row.title,
        "value": float(np.mean(values)),
        "spread": spread,
        "values": [float(one) for one in values],
    }


def curve(
    row: Row, xs: Sequence[float], ys: Sequence[float], x_title: str, y_title: str
) -> dict[str, Any]:
    """Return a line of a diagram."""
    return {
        "row": row.name,
        "title": row.title,
        "x": [float(one) for one in xs],
        "y": [float(one) for one in ys],
        "x_title": x_title,
        "y_title": y_title,
    }


MEASURES: Registry[type[Measure]] = Registry(
    "measure of a map", "napari_attnseg.explanation.checks"
)
