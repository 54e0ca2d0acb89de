"""What headers tell about a cohort before any voxel is read: channels, and grids that differ."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_attnseg.cohort.case import Case, Cohort, anonymous_channels, listed
from napari_attnseg.io import VolumeError, known_suffix, read_volume
from napari_attnseg.volume import Grid

_MOST_SENTENCES = 3


@dataclass(frozen=True)
class Header:
    """Where a file's voxels lie and how many images it holds."""

    grid: Grid
    channels: int


Read = Callable[[Path], Header | None]


def read_header(path: Path) -> Header | None:
    """Return a file's header, or None where it tells nothing or is damaged.

    What is wrong with a damaged file is said when it is opened.
    """
    from napari_attnseg.io import nifti_header
    from napari_attnseg.io.gzip_stream import open_source

    if known_suffix(path) not in (".nii", ".nii.gz"):
        return None
    try:
        with open_source(path) as source:
            start = source.read(540)
        header = nifti_header.parse(start if _is_nifti2(start) else start[:348])
        shape = nifti_header.shape_ijk(header)
        i, j, k, count = (*shape, 1, 1)[:4]
        return Header(Grid((k, j, i), nifti_header.place(header, shape).affine), count)
    except (VolumeError, nifti_header.HeaderError, ValueError, OSError):
        return None


def grid_of(path: Path) -> Grid:
    """Return where a file's voxels lie, from its header where that is known to tell.

    Raises:
        VolumeError: If it cannot be read.
    """
    header = read_header(path)
    return read_volume(path).grid if header is None else header.grid


def checked(cohort: Cohort) -> Cohort:
    """Return a cohort whose channels are those of its files, with warnings about its grids."""
    read = functools.cache(read_header)
    cohort = _with_channels_of_files(cohort, read)
    sentences = list(_differences(cohort.cases, read))
    if len(sentences) > _MOST_SENTENCES:
        more = len(sentences) - _MOST_SENTENCES
        sentences = [*sentences[:_MOST_SENTENCES], f"And {more} more cases on differing grids."]
    return dataclasses.replace(cohort, warnings=(*cohort.warnings, *sentences))


def _with_channels_of_files(cohort: Cohort, read: Read) -> Cohort:
    """Split what one file holds into channels; leave out cases that hold another number."""
    files = {case.name: set(map(Path, case.images.values())) for case in cohort.cases}
    if any(len(one) > 1 for one in files.values()):
        return cohort
    counts = {}
    for case in cohort.cases:
        header = read(next(iter(files[case.name])))
        counts[case.name] = header.channels if header else len(cohort.channels)
    channels = cohort.channels
    if len(channels) != min(counts.values(), default=1) == max(counts.values(), default=1):
        channels = anonymous_channels(next(iter(counts.values()), 1))
    fitting = [
        dataclasses.replace(case, images=dict.fromkeys(channels, next(iter(files[case.name]))))
        for case in cohort.cases
        if counts[case.name] == len(channels)
    ]
    odd = [name for name, count in counts.items() if count != len(channels)]
    warnings = cohort.warnings
    if odd:
        warnings = (*warnings, _other_count(odd, counts[odd[0]], channels))
    return dataclasses.replace(cohort, cases=fitting, channels=channels, warnings=warnings)


def _other_count(odd: list[str], found: int, channels: Sequence[str]) -> str:
    cases = "case is" if len(odd) == 1 else "cases are"
    return (
        f"{len(odd)} {cases} left out, because the file holds {found} images and the data set has "
        f"{len(channels)} ({', '.join(channels)}): {listed(odd)}."
    )


def _differences(cases: Sequence[Case], read: Read) -> Iterator[str]:
    """Yield what is said of cases whose files do not share a grid."""
    for case in cases:
        paths = [Path(path) for path in dict.fromkeys(case.images.values())]
        others = [(path, "image") for path in paths[1:]]
        others += [(case.label, "label")] if case.label is not None else []
        first = read(paths[0]) if others else None
        for path, kind in others:
            other = read(path)
            how = _difference(first.grid, other.grid) if first and other else None
            if how is not None:
                shown, image = _shown(path, case), _shown(paths[0], case)
                yield (
                    f"The {kind} {shown} is on another grid than the image {image}: {how}. "
                    "It cannot be used until it is resampled to the image or replaced."
                )
                break


def _shown(path: Path, case: Case) -> str:
    """Return a file's name, with its folder where cases may have files of the same name."""
    return path.name if case.name in path.name else f"{path.parent.name}/{path.name}"


def _difference(first: Grid, other: Grid) -> str | None:
    is_equal = first.shape_dhw == other.shape_dhw and np.array_equal(first.affine, other.affine)
    return None if is_equal else first.difference(other)


def _is_nifti2(start: bytes) -> bool:
    return start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")
