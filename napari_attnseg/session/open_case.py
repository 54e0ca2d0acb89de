"""A case with its volumes, as the window shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

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


class Left(Exception):  # noqa: N818 - control flow, not an error
    """Somebody wanted another case before this one was open."""


def read_case(
    project: Project,
    name: str,
    tell: Callable[[str], None] = lambda text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> OpenCase | None:
    """Read a case's images and label; the voxels of large images stay in their files.

    Args:
        project: Where the case is.
        name: The case.
        tell: Called with how far it is, where that takes long.
        should_stop: Asked now and then.

    Returns:
        The case, or None if it was stopped.

    Raises:
        GridMismatchError: If the label is on another grid than the image.
    """
    from napari_attnseg.io import read_volume

    case = project.case(name)
    try:
        images, warnings = _read_images(case.images, Opener(name, tell, should_stop))
    except Left:
        return None
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


@dataclass(frozen=True)
class Opener:
    """Opens the volumes of one case.

    Args:
        name: Of the case.
        tell: Called with how far it is.
        should_stop: Whether another case is wanted by now.
    """

    name: str
    tell: Callable[[str], None]
    should_stop: Callable[[], bool]

    def __call__(self, path: str) -> Volume:
        """Return the volume at a path.

        Raises:
            Left: If another case is wanted.
        """
        from napari_attnseg.io.opening import opening

        steps = opening(path, should_stop=self.should_stop)
        while True:
            try:
                done = next(steps)
            except StopIteration as end:
                if end.value is None:
                    raise Left from None
                return cast("Volume", end.value)
            self.tell(f"Unpacking {self.name}: {100 * done.done // max(1, done.total)} %")


def _read_images(
    paths: Mapping[str, str | Path], opened: Opener
) -> tuple[list[tuple[str, Volume]], list[str]]:
    """Read every channel; channels that name the same file are that file's channels in turn."""
    images: list[tuple[str, Volume]] = []
    warnings = []
    read = {path: opened(path) for path in dict.fromkeys(map(str, paths.values()))}
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
