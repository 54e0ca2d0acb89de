"""A case with its volumes, as the window shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_attnseg.session.display import display_window, showable
from napari_attnseg.volume import Volume, require_same_grid

if TYPE_CHECKING:
    from napari_attnseg.cohort.project import Project


@dataclass(frozen=True)
class OpenCase:
    """A case whose volumes have been read.

    Args:
        name: The case.
        images: Channel name and volume, in the project's order.
        label: The user's label, or the one that came with the case, or None.
        status: Status in the worklist.
        set: ``train``, ``val``, ``test`` or None while it has no label.
        windows: Darkest and brightest intensity to show of each image.
        warnings: What is odd about it, in sentences.
    """

    name: str
    images: tuple[tuple[str, Volume], ...]
    label: Volume | None
    status: str
    set: str | None
    windows: dict[str, tuple[float, float]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def image(self) -> Volume:
        """The first image, whose grid labels are saved on."""
        return self.images[0][1]


def read_case(project: Project, name: str) -> OpenCase:
    """Read a case's images and label.

    Raises:
        GridMismatchError: If the label is on another grid than the image.
    """
    from napari_attnseg.io import read_volume

    case = project.case(name)
    images, warnings = _read_images(case.images)
    source = getattr(case, "draft", None) or case.label
    label = None
    if source is not None:
        label = read_volume(source, labels=True)
        require_same_grid(images[0][1].grid, label.grid, names=("image", "label"))
    windows = {channel: display_window(volume) for channel, volume in images}
    return OpenCase(name, tuple(images), label, case.status, case.set, windows, tuple(warnings))


def label_volume(case: OpenCase, labels: np.ndarray, classes: dict[int, str]) -> Volume:
    """Return label values on the grid of the case's image, in the smallest unsigned type."""
    kind = np.min_scalar_type(int(labels.max(initial=0)))
    data = np.ascontiguousarray(labels, dtype=kind)
    like = case.image if case.label is None else case.label
    return like.on_grid(data, classes=classes)


def _read_images(
    paths: Mapping[str, str | Path],
) -> tuple[list[tuple[str, Volume]], list[str]]:
    """Read every channel; channels that name the same file are that file's channels in turn."""
    from napari_attnseg.io import read_volume

    images: list[tuple[str, Volume]] = []
    warnings = []
    read = {path: read_volume(path) for path in dict.fromkeys(map(str, paths.values()))}
    taken = dict.fromkeys(read, 0)
    for channel, path in paths.items():
        volume = read[str(path)]
        at, taken[str(path)] = taken[str(path)], taken[str(path)] + 1
        is_alone = list(map(str, paths.values())).count(str(path)) == 1
        images += _channels(channel, volume) if is_alone else [(channel, _channel(volume, at))]
    for index, (channel, volume) in enumerate(images[1:], start=1):
        how = images[0][1].grid.difference(volume.grid)
        if how is not None:
            warnings.append(f"{channel} is on another grid than {images[0][0]}: {how}.")
            images[index] = (channel, showable(volume, images[0][1].grid))
    return images, warnings


def _channels(name: str, volume: Volume) -> list[tuple[str, Volume]]:
    channels = volume.data.shape[0]
    if channels == 1:
        return [(name, volume)]
    names = volume.channels or tuple(f"{name} {n + 1}" for n in range(channels))
    return [(one, _channel(volume, n)) for n, one in enumerate(names)]


def _channel(volume: Volume, index: int) -> Volume:
    return volume.on_grid(volume.data[index])
