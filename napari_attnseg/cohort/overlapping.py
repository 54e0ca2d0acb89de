"""Labels of several channels in a cohort: one-hot, or regions that overlap."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from napari_attnseg.cohort.case import Case, Cohort
from napari_attnseg.cohort.headers import Read
from napari_attnseg.io import VolumeError, as_label_map, read_volume
from napari_attnseg.io.recipe import Recipe
from napari_attnseg.io.regions import (
    MOST_CHANNELS,
    classes_of_channels,
    regions_of_channels,
)


def with_regions(cohort: Cohort, read: Read) -> Cohort:
    """Return a cohort whose labels of overlapping channels are regions.

    What the channels of one label are, those of all are: the values of their exclusive classes
    must mean the same in every case. Labels that are one-hot stay as they are.
    """
    counts = {}
    for case in cohort.cases:
        header = read(case.label) if case.label is not None else None
        counts[case.name] = header.channels if header else 1
    several = [case for case in cohort.cases if 1 < counts[case.name] <= MOST_CHANNELS]
    if not several or not _are_regions(several):
        return cohort
    names = _names(cohort, counts[several[0].name])
    wanted = {case.name for case in several if counts[case.name] == len(names)}
    cases = [
        dataclasses.replace(case, label=_as_regions(case, names)) if case.name in wanted else case
        for case in cohort.cases
    ]
    return dataclasses.replace(
        cohort,
        cases=cases,
        classes=classes_of_channels(names),
        regions=regions_of_channels(names),
    )


def _are_regions(cases: Sequence[Case]) -> bool:
    """Return whether the first label that can be read is not one-hot."""
    for case in cases:
        if isinstance(case.label, Recipe) or case.label is None:
            continue
        try:
            volume = read_volume(case.label)
        except VolumeError:
            continue
        try:
            as_label_map(volume, case.label)
        except VolumeError:
            return True
        return False
    return False


def _names(cohort: Cohort, count: int) -> list[str]:
    """Return the names of the channels: those of the regions, or else of the classes."""
    known = list(cohort.regions.members) or list(cohort.classes.values())
    return known if len(known) == count else [f"region {n}" for n in range(1, count + 1)]


def _as_regions(case: Case, names: Sequence[str]) -> Recipe:
    label = case.label
    assert label is not None
    recipe = label if isinstance(label, Recipe) else Recipe((label,))
    return dataclasses.replace(recipe, regions=tuple(names))
