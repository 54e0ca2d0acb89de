"""Overlapping regions, such as whole tumour, core and enhancing part: a label form of their own.

A region is a set of class values, so a map of exclusive classes and the regions say together what
overlapping masks, one channel a region, say on their own, and each is made from the other exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from napari_attnseg.io.format import VolumeError

MOST_CHANNELS = 8
"""Overlapping masks of more regions than this have no exclusive classes in one byte."""


class RegionsError(ValueError):
    """Regions that cannot be used; the message says why."""


@dataclass(frozen=True)
class Regions:
    """Regions by name, each the set of class values that lie in it.

    Args:
        members: Class values, 1 or more, by the region's name.

    Raises:
        RegionsError: If a region has no name or no value, or a value is not positive.
    """

    members: Mapping[str, frozenset[int]]

    def __post_init__(self) -> None:
        for name, values in self.members.items():
            if not name.strip() or not values or min(values) < 1:
                raise RegionsError(
                    f"A region needs a name and class values of 1 or more; found {name!r} with "
                    f"{sorted(values)}."
                )

    def __bool__(self) -> bool:
        return bool(self.members)

    def __iter__(self) -> Iterator[tuple[str, frozenset[int]]]:
        return iter(self.members.items())

    def masks(self, labels: np.ndarray) -> np.ndarray:
        """Return a mask for each region, ``(R, D, H, W)`` of 0 and 1, of classes ``(D, H, W)``."""
        found = [np.isin(labels, sorted(values)) for values in self.members.values()]
        return np.stack(found).astype(np.uint8)

    def to_json(self) -> dict[str, list[int]]:
        """Return ``{"WT": [1, 2, 4], ...}``."""
        return {name: sorted(values) for name, values in self.members.items()}

    @classmethod
    def from_json(cls, content: Any) -> Regions:
        """Return what `to_json` wrote; nothing at all stands for no regions.

        Raises:
            RegionsError: If it is no table of names and lists of whole numbers.
        """
        if content is None:
            return cls({})
        if not isinstance(content, Mapping):
            raise RegionsError(f"Regions are a table of names and class values, not {content!r}.")
        try:
            members = {str(name): frozenset(map(int, one)) for name, one in content.items()}
        except (TypeError, ValueError) as error:
            raise RegionsError(
                f"Regions need lists of class values; found {content!r}."
            ) from error
        return cls(members)


def regions_of_channels(names: Sequence[str]) -> Regions:
    """Return the regions of the classes that `exclusive_classes` makes of channels so named."""
    values = range(1, 2 ** len(names))
    return Regions(
        {
            name: frozenset(value for value in values if value >> at & 1)
            for at, name in enumerate(names)
        }
    )


def classes_of_channels(names: Sequence[str]) -> dict[int, str]:
    """Return the names of those classes: ``WT``, ``WT + TC``, ..."""
    return {
        value: " + ".join(name for at, name in enumerate(names) if value >> at & 1)
        for value in range(1, 2 ** len(names))
    }


def exclusive_classes(channels: np.ndarray, names: Sequence[str], file: str) -> np.ndarray:
    """Return nested masks as exclusive classes, ``(D, H, W)`` uint8.

    The value of a voxel tells which regions it lies in, one bit a region: in the first 1, in the
    second 2, in both 3. So it depends on no other voxel and means the same in every case.

    Args:
        channels: ``(R, D, H, W)``, 0 and 1.
        names: Of the regions.
        file: What a refusal calls it.

    Raises:
        VolumeError: If the masks are not of 0 and 1, are too many, or two of them overlap and
            neither lies within the other.
    """
    if len(channels) > MOST_CHANNELS or len(names) != len(channels):
        raise VolumeError(
            f"The label {file!r} has {len(channels)} channels; at most {MOST_CHANNELS} that "
            f"overlap can be read, and {len(names)} names are given."
        )
    if not all(bool(((one == 0) | (one == 1)).all()) for one in channels):
        raise VolumeError(f"The channels of the label {file!r} hold other values than 0 and 1.")
    masks = channels.astype(bool)
    for (a, first), (b, second) in combinations(enumerate(masks), 2):
        _require_nested(first, second, (names[a], names[b]), file)
    bits = (1 << np.arange(len(masks))).astype(np.uint8)
    values = np.zeros(masks.shape[1:], dtype=np.uint8)
    for bit, mask in zip(bits, masks, strict=True):
        values[mask] |= bit
    return values


def _require_nested(
    first: np.ndarray, second: np.ndarray, names: tuple[str, str], file: str
) -> None:
    shared = first & second
    count = int(shared.sum())
    if count == 0 or count == min(int(first.sum()), int(second.sum())):
        return
    k, j, i = (int(one[0]) for one in np.nonzero(shared))
    raise VolumeError(
        f"The regions {names[0]!r} and {names[1]!r} of {file!r} share {count} "
        f"voxel{'s' * (count > 1)}, the first at i, j, k = {i}, {j}, {k}, though neither lies "
        "within the other; correct the masks so that they are nested or apart."
    )
