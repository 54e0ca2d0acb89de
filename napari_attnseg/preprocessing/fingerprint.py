"""What a cohort is like: sizes, spacings, intensities and classes, measured once per case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_attnseg.config import Config, setting
from napari_attnseg.preprocessing import intensity
from napari_attnseg.preprocessing.label_values import value_counts
from napari_attnseg.volume import Volume, require_same_grid

CANONICAL = "RAS"
SAMPLES_PER_CASE = 10_000

Row = tuple[float, float, float, float]


@dataclass(frozen=True)
class ChannelFacts(Config):
    """Intensities of one channel.

    ``cases`` holds one row a case: the 0.5th, 50th and 99.5th percentile over the body, and the
    fraction of voxels that repeat the fill value. The five numbers of ``foreground`` are the same
    percentiles, mean and standard deviation over the labelled voxels of all cases (over the body
    where nothing is labelled).
    """

    name: str = setting("", help="Modality, such as CT or T1")
    foreground: tuple[float, ...] = setting((), help="Percentiles 0.5, 50, 99.5, mean, std")
    cases: tuple[Any, ...] = setting((), help="Percentiles 0.5, 50, 99.5 and fill fraction a case")


@dataclass(frozen=True)
class Fingerprint(Config):
    """Facts about a cohort; sizes and spacings are along D, H, W of volumes stored as RAS."""

    shapes_dhw: tuple[Any, ...] = setting((), help="Voxels of each case along S, A, R")
    spacings_dhw: tuple[Any, ...] = setting((), help="Voxel size of each case in mm along S, A, R")
    channels: tuple[Any, ...] = setting((), help="Facts about each channel")
    class_values: tuple[int, ...] = setting((), help="Values that occur in the labels, 0 included")
    class_voxels: tuple[int, ...] = setting((), help="Voxels of each of these values in all cases")
    class_cases: tuple[int, ...] = setting((), help="Cases in which each of them occurs")

    def __post_init__(self) -> None:
        super().__post_init__()
        facts = (ChannelFacts.from_dict(c) if isinstance(c, dict) else c for c in self.channels)
        object.__setattr__(self, "channels", tuple(facts))


def fingerprint(
    cases: Iterable[tuple[Volume, Volume | None]], *, channels: Sequence[str] = ()
) -> Fingerprint:
    """Measure cases one after the other; only one is in memory at a time.

    Args:
        cases: Image and label of each case; a case without a label counts for all but classes.
        channels: Modality of each channel, where the volumes themselves do not know.

    Raises:
        ValueError: If there is no case, or cases differ in their number of channels.
        GridMismatchError: If a label is on another grid than its image.
    """
    shapes, spacings, samples = [], [], []
    rows: list[list[Row]] = []
    voxels: Counter[int] = Counter()
    occurs: Counter[int] = Counter()
    for image, label in cases:
        image, label = _canonical(image, label)
        channels = channels or image.channels
        _check_channels(image, len(rows[0]) if rows else len(channels))
        shapes.append(image.shape_dhw)
        spacings.append(image.spacing_dhw)
        counts = {} if label is None else value_counts(label.data[0])
        voxels.update(counts)
        occurs.update(counts.keys())
        rows.append([_row(channel) for channel in image.data])
        samples.append(_foreground(image, label))
    if not rows:
        raise ValueError("There is no case to make a plan from; add at least one labelled case.")
    values = sorted(voxels)
    return Fingerprint(
        shapes_dhw=tuple(shapes),
        spacings_dhw=tuple(spacings),
        channels=_channel_facts(tuple(channels), rows, samples),
        class_values=tuple(values),
        class_voxels=tuple(voxels[value] for value in values),
        class_cases=tuple(occurs[value] for value in values),
    )


def _canonical(image: Volume, label: Volume | None) -> tuple[Volume, Volume | None]:
    if label is not None:
        require_same_grid(image.grid, label.grid, names=("image", "label"))
        label = label.reoriented(CANONICAL)
    return image.reoriented(CANONICAL), label


def _check_channels(image: Volume, expected: int) -> None:
    found = image.data.shape[0]
    if expected and found != expected:
        raise ValueError(
            f"One case has {found} channels and another {expected}; every case needs the same "
            "images, so complete it or leave it out."
        )


def _row(channel: np.ndarray) -> Row:
    spread, fraction = intensity.usual_spread(channel)
    return spread.low, spread.median, spread.high, fraction


def _foreground(image: Volume, label: Volume | None) -> list[np.ndarray]:
    """Return some labelled voxels of each channel, or of the body where nothing is labelled."""
    mask = None if label is None else label.data[0] > 0
    found = []
    for channel in image.data:
        body = ~intensity.outside(channel, has_fill=True) if mask is None else mask
        place = body if body.any() else np.isfinite(channel)
        found.append(intensity.sample(channel, place, SAMPLES_PER_CASE).astype(np.float64))
    return found


def _channel_facts(
    names: tuple[str, ...], rows: list[list[Row]], samples: list[list[np.ndarray]]
) -> tuple[ChannelFacts, ...]:
    facts = []
    for index in range(len(rows[0])):
        spread = intensity.spread_of(np.concatenate([case[index] for case in samples]))
        five = (spread.low, spread.median, spread.high, spread.mean, spread.std)
        unnamed = "the image" if len(rows[0]) == 1 else f"image {index + 1}"
        name = names[index] if index < len(names) else unnamed
        per_case = tuple(row[index] for row in rows)
        facts.append(ChannelFacts(name=name, foreground=five, cases=per_case))
    return tuple(facts)
