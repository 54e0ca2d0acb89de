from __future__ import annotations

import pytest

from napari_attnseg.training.sides import Mirroring, is_lopsided, mirroring


def test_classes_without_a_side_may_be_mirrored_across_left_and_right() -> None:
    assert mirroring("RAS", {1: "liver", 2: "spleen"}) == Mirroring(2)


@pytest.mark.parametrize(("orientation", "axis"), [("RAS", 2), ("PIR", 0), ("SLA", 1)])
def test_the_left_right_axis_follows_the_orientation(orientation: str, axis: int) -> None:
    assert mirroring(orientation, {1: "liver"}).axis == axis


def test_a_pair_changes_places() -> None:
    classes = {3: "left kidney", 5: "liver", 7: "right kidney"}

    assert mirroring("RAS", classes) == Mirroring(2, ((1, 3),))


@pytest.mark.parametrize(
    "names",
    [
        ("left kidney", "liver"),
        ("Hippocampus_L", "brain"),
        ("RightLung",),
        ("kidney (left)", "kidney (right)", "left lung"),
        ("lh-cortex",),
    ],
)
def test_a_side_without_its_partner_is_never_mirrored(names: tuple[str, ...]) -> None:
    assert mirroring("RAS", dict(enumerate(names, start=1))).axis is None


@pytest.mark.parametrize("name", ["lesion", "lateral ventricle", "cleft", "bright spot", "L4"])
def test_a_word_that_only_begins_like_a_side_is_none(name: str) -> None:
    assert mirroring("RAS", {1: name}).axis == 2


@pytest.mark.parametrize(
    "pair",
    [("Lung_L", "Lung_R"), ("LeftKidney", "RightKidney"), ("rh amygdala", "lh amygdala")],
)
def test_pairs_are_found_in_every_common_spelling(pair: tuple[str, str]) -> None:
    assert mirroring("LPS", {1: pair[0], 2: pair[1]}) == Mirroring(2, ((1, 2),))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([[0.4, 0.5, 0.3, 0.6]], True),
        ([[-0.4, -0.5, -0.3, -0.6, -0.2]], True),
        ([[0.02, -0.05, 0.01, 0.04], [0.4, 0.5, 0.3, 0.6]], True),
        ([[0.4, -0.5, 0.3, -0.6]], False),
        ([[0.02, 0.05, 0.01, 0.04]], False),
        ([[0.5, 0.5]], False),
        ([[]], False),
    ],
)
def test_a_structure_on_one_side_in_all_cases_forbids_mirroring(
    places: list[list[float]], expected: bool
) -> None:
    assert is_lopsided(places) is expected
