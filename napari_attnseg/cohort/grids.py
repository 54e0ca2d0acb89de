"""The grids of a cohort's cases: other orders are turned, other grids told of or resampled."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_attnseg.cohort.case import Case, Cohort, anonymous_channels, listed
from napari_attnseg.cohort.headers import Read, grid_of, read_header
from napari_attnseg.cohort.overlapping import with_regions
from napari_attnseg.io import VolumeError
from napari_attnseg.io.onto_grid import is_other_order
from napari_attnseg.io.recipe import Recipe, Source
from napari_attnseg.volume import Grid

_MOST_SENTENCES = 3


def checked(cohort: Cohort) -> Cohort:
    """Return a cohort whose channels are those of its files, with warnings about its grids.

    What holds the voxels of the first image in another storage order is turned to its order,
    exactly.
    """
    read = functools.cache(read_header)
    cohort = with_regions(_with_channels_of_files(cohort, read), read)
    cases = [_in_one_order(one, read) for one in cohort.cases]
    turned = [one.name for one, was in zip(cases, cohort.cases, strict=True) if one is not was]
    cohort = dataclasses.replace(cohort, cases=cases)
    sentences = list(_differences(cohort.cases, read))
    if len(sentences) > _MOST_SENTENCES:
        more = len(sentences) - _MOST_SENTENCES
        sentences = [*sentences[:_MOST_SENTENCES], f"And {more} more cases on differing grids."]
    if turned:
        # A header that is wrong about left and right looks just like this.
        sentences.append(
            f"Stored in another order than the first image, and turned as the headers say: files "
            f"of {listed(turned)}. Look at one before relying on it."
        )
    return dataclasses.replace(cohort, warnings=(*cohort.warnings, *sentences))


def on_one_grid(images: Mapping[str, Source], label: Source | None) -> dict[str, Source]:
    """Return a case's images on one grid: the label's, or where there is none the first image's.

    Images on another grid are resampled linearly in world space whenever they are read; the
    files stay as they are. Images that share one file share its grid.
    """
    distinct = list(dict.fromkeys(images.values()))
    if len(distinct) < 2:
        return dict(images)
    try:
        target = grid_of(label if label is not None else distinct[0])
        moved = {one: _resampled(one, target) for one in distinct}
    except VolumeError:
        # Whoever opens the damaged file is told; nothing can be said about its grid here.
        return dict(images)
    return {channel: moved[source] for channel, source in images.items()}


def _resampled(source: Source, target: Grid) -> Source:
    grid = grid_of(source)
    if _difference(target, grid) is None:
        return source
    # Exact where it can be: no voxel changes where only the order does.
    return _as_recipe(source).on(
        target, "reordered" if is_other_order(target, grid) else "resampled"
    )


def _in_one_order(case: Case, read: Read) -> Case:
    """Return a case whose images and label are stored in the order of its first image."""
    sources = dict.fromkeys(case.images.values())
    first = next(iter(sources))
    if len(sources) == 1 and case.label is None:
        return case
    target = read(first)
    if target is None:
        return case

    def turned(source: Source) -> Source:
        header = read(source)
        if source == first or header is None or not is_other_order(target.grid, header.grid):
            return source
        return _as_recipe(source).on(target.grid, "reordered")

    images = {channel: turned(source) for channel, source in case.images.items()}
    label = turned(case.label) if case.label is not None else None
    if label is case.label and list(images.values()) == list(case.images.values()):
        return case
    return dataclasses.replace(
        case, images=images, label=Path(label) if isinstance(label, str) else label
    )


def _as_recipe(source: Source) -> Recipe:
    return source if isinstance(source, Recipe) else Recipe((Path(source),))


def _with_channels_of_files(cohort: Cohort, read: Read) -> Cohort:
    """Split what one file holds into channels; leave out cases that hold another number."""
    files = {case.name: list(dict.fromkeys(case.images.values())) for case in cohort.cases}
    if any(len(one) > 1 for one in files.values()):
        return cohort
    counts = {}
    for case in cohort.cases:
        header = read(files[case.name][0])
        counts[case.name] = header.channels if header else len(cohort.channels)
    channels = cohort.channels
    if len(channels) != min(counts.values(), default=1) == max(counts.values(), default=1):
        channels = anonymous_channels(next(iter(counts.values()), 1))
    fitting = [
        dataclasses.replace(case, images=dict.fromkeys(channels, files[case.name][0]))
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
        sources = list(dict.fromkeys(case.images.values()))
        others = [(one, "image") for one in sources[1:]]
        others += [(case.label, "label")] if case.label is not None else []
        first = read(sources[0]) if others else None
        for source, kind in others:
            other = read(source)
            how = _difference(first.grid, other.grid) if first and other else None
            if how is not None:
                shown, image = _shown(source, case), _shown(sources[0], case)
                yield (
                    f"The {kind} {shown} is on another grid than the image {image}: {how}. "
                    f"{_REMEDIES[kind]}"
                )
                break


_REMEDIES = {
    "label": "It cannot be used until it is resampled to the image or replaced.",
    "image": "The case cannot be used until its images are put on one grid, as attnseg project "
    "PROJECT --resample-modalities does.",
}


def _shown(source: Source, case: Case) -> str:
    """Return a file's name, with its folder where cases may have files of the same name."""
    path = source.files[0] if isinstance(source, Recipe) else Path(source)
    return path.name if case.name in path.name else f"{path.parent.name}/{path.name}"


def _difference(first: Grid, other: Grid) -> str | None:
    is_equal = first.shape_dhw == other.shape_dhw and np.array_equal(first.affine, other.affine)
    return None if is_equal else first.difference(other)
