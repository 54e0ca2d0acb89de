from __future__ import annotations

from collections import Counter

import numpy as np

from napari_attnseg.training.sampling import Sampler, foreground_points, repeats_of

SHAPES = [(20, 30, 40), (18, 31, 25), (9, 50, 17)]


def sampler(**changes: object) -> Sampler:
    facts = {
        "shapes": SHAPES,
        "foreground": [[np.array([[3, 4, 5]])], [], [np.array([[8, 49, 16]])]],
        "patch_size": (12, 16, 20),
        "foreground_fraction": 0.5,
        "repeats": [1, 1, 1],
        "seed": 7,
    }
    return Sampler(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_patch_depends_on_its_number_and_the_seed_alone() -> None:
    one, other = sampler(), sampler()
    for number in range(10):
        other.place(number)

    first, second = one.place(11), other.place(11)

    assert first.case == second.case
    assert (first.centre_dhw == second.centre_dhw).all()
    assert first.rng.random() == second.rng.random()
    assert any(
        (sampler(seed=8).place(n).centre_dhw != one.place(n).centre_dhw).any() for n in range(5)
    )


def test_every_case_is_seen_once_a_pass() -> None:
    cases = [sampler().place(number).case for number in range(30)]

    assert all(sorted(cases[at : at + 3]) == [0, 1, 2] for at in range(0, 30, 3))


def test_repeated_cases_are_seen_more_often() -> None:
    drawn = sampler(repeats=[1, 4, 1])

    assert Counter(drawn.place(n).case for n in range(60)) == {0: 10, 1: 40, 2: 10}


def test_a_patch_lies_within_the_case_or_holds_all_of_it() -> None:
    drawn = sampler()
    for number in range(200):
        place = drawn.place(number)
        size = np.array(SHAPES[place.case])
        first = place.centre_dhw - (np.array(drawn.patch_size) - 1) / 2
        last = place.centre_dhw + (np.array(drawn.patch_size) - 1) / 2

        fits = size >= drawn.patch_size
        assert (first[fits] >= 0).all()
        assert (last[fits] <= size[fits] - 1).all()
        assert (first[~fits] <= 0).all()
        assert (last[~fits] >= size[~fits] - 1).all()
        assert np.allclose(first, np.round(first))


def test_asked_for_foreground_the_patch_holds_it() -> None:
    drawn = sampler(foreground_fraction=1.0, shapes=[SHAPES[0]], foreground=[
        [np.array([[10, 15, 20]])]
    ], repeats=[1])  # fmt: skip

    for number in range(50):
        away = np.abs(drawn.place(number).centre_dhw - [10, 15, 20])
        assert (away <= np.array([12, 16, 20]) / 2).all()


def test_points_are_found_for_each_class_that_is_there() -> None:
    label = np.zeros((6, 7, 8), dtype=np.uint8)
    label[1:3, 2, 3] = 1
    label[4, 5, 6] = 3
    label[0, 0, 0] = 255

    points = foreground_points(label, 3, np.random.default_rng(0))

    assert [one.tolist() for one in points] == [[[1, 2, 3], [2, 2, 3]], [[4, 5, 6]]]


def test_many_points_are_thinned_out() -> None:
    label = np.ones((10, 11, 12), dtype=np.uint8)

    (points,) = foreground_points(label, 1, np.random.default_rng(0), most=50)

    assert len(np.unique(points, axis=0)) == 50


def test_new_cases_are_repeated_and_old_ones_stay() -> None:
    names = [f"old{n}" for n in range(20)] + ["new"]

    repeats = repeats_of(names, frozenset({"new"}))

    assert repeats[:-1] == [1] * 20
    assert repeats[-1] == 10


def test_without_old_cases_nothing_is_repeated() -> None:
    assert repeats_of(["a", "b"], frozenset({"a", "b"})) == [1, 1]
    assert repeats_of(["a", "b"], frozenset()) == [1, 1]
