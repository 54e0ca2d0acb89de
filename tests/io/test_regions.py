"""Overlapping regions become exclusive classes, and these the regions again."""

from __future__ import annotations

import numpy as np
import pytest

from napari_attnseg.io import VolumeError
from napari_attnseg.io.regions import (
    Regions,
    RegionsError,
    classes_of_channels,
    exclusive_classes,
    regions_of_channels,
)

NAMES = ("TC", "WT", "ET")
SHAPE = (4, 5, 6)


def nested(seed: int = 0) -> np.ndarray:
    """Return whole tumour, core and enhancing part, in the order of the names."""
    levels = np.random.default_rng(seed).integers(0, 4, SHAPE)
    return np.stack([levels >= 2, levels >= 1, levels >= 3]).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_nested_masks_come_back_from_their_exclusive_classes(seed: int) -> None:
    channels = nested(seed)

    values = exclusive_classes(channels, NAMES, "a")

    assert values.shape == SHAPE
    assert np.array_equal(regions_of_channels(NAMES).masks(values), channels)


def test_exclusive_classes_come_back_from_the_masks_of_their_regions() -> None:
    values = exclusive_classes(nested(), NAMES, "a")

    masks = regions_of_channels(NAMES).masks(values)

    assert np.array_equal(exclusive_classes(masks, NAMES, "a"), values)


def test_a_value_means_the_same_where_two_regions_are_equal_in_a_case() -> None:
    channels = nested()
    channels[2] = channels[0]

    values = exclusive_classes(channels, NAMES, "a")

    names = classes_of_channels(NAMES)
    assert {names[value] for value in np.unique(values[values > 0])} == {"WT", "TC + WT + ET"}
    assert np.array_equal(regions_of_channels(NAMES).masks(values), channels)


def test_regions_apart_from_each_other_are_accepted() -> None:
    channels = np.zeros((2, *SHAPE), np.uint8)
    channels[0, 0], channels[1, 2] = 1, 1

    values = exclusive_classes(channels, ("left", "right"), "a")

    assert values[0, 0, 0] == 1
    assert values[2, 0, 0] == 2


def test_regions_that_overlap_without_being_nested_are_refused_with_where_and_how_many() -> None:
    channels = np.zeros((2, *SHAPE), np.uint8)
    channels[0, 1, :, :4], channels[1, 1, :, 3:] = 1, 1

    with pytest.raises(VolumeError, match=r"'A' and 'B' of 'x' share 5 voxels.* = 3, 0, 1,"):
        exclusive_classes(channels, ("A", "B"), "x")


def test_channels_of_other_values_are_refused() -> None:
    with pytest.raises(VolumeError, match="other values than 0 and 1"):
        exclusive_classes(nested() * 2, NAMES, "x")


def test_the_masks_of_class_values_are_those_of_a_plain_loop() -> None:
    labels = np.random.default_rng(1).integers(0, 5, SHAPE)
    regions = Regions({"WT": frozenset((1, 2, 4)), "ET": frozenset((4,))})

    masks = regions.masks(labels)

    for at, values in enumerate(({1, 2, 4}, {4})):
        for place in np.ndindex(*SHAPE):
            assert masks[(at, *place)] == (int(labels[place]) in values)


def test_regions_survive_json() -> None:
    regions = Regions({"WT": frozenset((4, 1)), "ET": frozenset((4,))})

    assert Regions.from_json(regions.to_json()) == regions
    assert regions.to_json() == {"WT": [1, 4], "ET": [4]}


@pytest.mark.parametrize("content", [[1], {"WT": 1}, {"WT": []}, {"WT": [0]}, {"": [1]}])
def test_what_makes_no_regions_is_refused(content: object) -> None:
    with pytest.raises(RegionsError):
        Regions.from_json(content)
