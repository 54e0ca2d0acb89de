from __future__ import annotations

from collections import Counter

import pytest

from napari_attnseg.cohort.split import assign_sets


def batch(count: int, start: int = 0) -> list[tuple[str, str]]:
    return [(f"case_{n}", f"case_{n}") for n in range(start, start + count)]


@pytest.mark.parametrize(
    ("count", "checked"), [(2, 1), (3, 1), (7, 1), (8, 2), (12, 2), (13, 3), (200, 40)]
)
def test_a_fifth_of_the_first_batch_is_kept_for_validation(count: int, checked: int) -> None:
    sets = assign_sets({}, batch(count), seed=3)

    assert Counter(sets.values()) == {"train": count - checked, "val": checked}


def test_a_single_case_is_learned_from() -> None:
    assert assign_sets({}, batch(1), seed=0) == {"case_0": "train"}


def test_an_empty_batch_changes_nothing() -> None:
    assert assign_sets({"a": "train"}, [], seed=0) == {"a": "train"}


def test_cases_that_come_later_never_move_the_earlier_ones_and_are_learned_from() -> None:
    first = assign_sets({}, batch(10), seed=0)

    later = assign_sets(first, batch(40), seed=0)

    assert {name: later[name] for name in first} == first
    assert all(later[f"case_{n}"] == "train" for n in range(10, 40))


def test_the_division_does_not_depend_on_the_order_of_the_cases() -> None:
    assert assign_sets({}, batch(30), seed=5) == assign_sets({}, batch(30)[::-1], seed=5)


def test_another_seed_gives_another_division() -> None:
    assert assign_sets({}, batch(30), seed=0) != assign_sets({}, batch(30), seed=1)


@pytest.mark.parametrize("seed", range(8))
def test_a_patient_is_never_in_two_sets_and_the_count_stays_exact(seed: int) -> None:
    visits = [(f"{n}_{visit}", f"{n}") for n in range(20) for visit in range(1 + n % 3)]

    sets = assign_sets({}, visits, seed=seed)

    by_patient = {patient: {sets[c] for c, p in visits if p == patient} for _, patient in visits}
    assert all(len(one) == 1 for one in by_patient.values())
    assert Counter(sets.values())["val"] == round(0.2 * len(visits))


def test_two_large_patients_are_divided_although_half_is_more_than_a_fifth() -> None:
    visits = [(f"{p}{n}", p) for p in "ab" for n in range(5)]

    sets = assign_sets({}, visits, seed=0)

    assert Counter(sets.values()) == {"train": 5, "val": 5}


def test_all_cases_of_one_patient_are_learned_from() -> None:
    sets = assign_sets({}, [("a", "p"), ("b", "p")], seed=0)

    assert set(sets.values()) == {"train"}


@pytest.mark.parametrize("its_set", ["train", "val", "test"])
def test_a_new_case_of_a_known_patient_joins_that_patient(its_set: str) -> None:
    existing = {"a1": its_set, "b1": "train", "c1": "val"}

    sets = assign_sets(existing, [("a2", "a")], 0, patients={"a1": "a", "b1": "b", "c1": "c"})

    assert sets["a2"] == its_set


def test_the_batch_after_a_single_first_case_provides_the_validation() -> None:
    sets = assign_sets({"case_0": "train"}, batch(9, start=1), seed=0)

    assert sets["case_0"] == "train"
    assert Counter(sets.values()) == {"train": 8, "val": 2}


def test_cases_labelled_one_by_one_get_a_validation_case_when_a_fifth_makes_one() -> None:
    sets: dict[str, str] = {}
    for n in range(5):
        sets = assign_sets(sets, batch(1, start=n), seed=0)

    assert list(sets.values()) == ["train", "train", "val", "train", "train"]


def test_a_test_set_is_made_only_when_asked_for() -> None:
    sets = assign_sets({}, batch(20), seed=0, test_fraction=0.1)

    assert Counter(sets.values()) == {"train": 14, "val": 4, "test": 2}
