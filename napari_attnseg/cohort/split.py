"""Which cases are learned from and which are checked on; once assigned, never changed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

TRAIN, VALIDATION, TEST = "train", "val", "test"
VALIDATION_FRACTION = 0.2


def assign_sets(
    existing: Mapping[str, str],
    newly_labelled: Sequence[tuple[str, str]],
    seed: int,
    test_fraction: float = 0.0,
    patients: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the set of every case, old and new; the old ones keep theirs.

    The first batch is divided 80/20, by patient and with the exact number of cases wherever the
    patients' numbers of cases allow it. Whatever comes later is learned from, except that a
    patient who already has a set stays in it. A case that comes first and alone is learned from;
    the validation cases are then taken from the cases that follow, as soon as a fifth of all
    makes one case.

    Args:
        existing: Set by case.
        newly_labelled: Case and patient; cases that already have a set are passed over.
        seed: Of the division; equal seeds and patients give equal sets, in whatever order.
        test_fraction: Part of the first batch that is set apart for a final test.
        patients: Patient by existing case; where missing, the case is a patient of its own.
    """
    sets = dict(existing)
    set_of = _sets_of_patients(existing, patients or {})
    cases: dict[str, list[str]] = defaultdict(list)
    for case, patient in newly_labelled:
        if case not in sets:
            cases[patient].append(case)
    if VALIDATION not in existing.values():
        counts = {patient: len(names) for patient, names in cases.items() if patient not in set_of}
        learned = sum(one == TRAIN for one in existing.values())
        set_of.update(_divide(counts, learned, seed, test_fraction))
    for patient, names in cases.items():
        sets.update(dict.fromkeys(names, set_of.get(patient, TRAIN)))
    return sets


def _sets_of_patients(existing: Mapping[str, str], patients: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for case, its_set in existing.items():
        patient = patients.get(case, case)
        # Where a patient is in two sets already, the one that is not learned from counts.
        if found.get(patient, TRAIN) == TRAIN:
            found[patient] = its_set
    return found


def _divide(
    counts: Mapping[str, int], learned: int, seed: int, test_fraction: float
) -> dict[str, str]:
    """Return the sets of patients where there is no validation case yet.

    Args:
        counts: Cases by patient.
        learned: Cases that are learned from already.
        seed: Of the order in which patients are drawn.
        test_fraction: Part for the test set.
    """
    order = sorted(counts, key=lambda patient: _rank(patient, seed))
    total = sum(counts.values())
    wanted = {VALIDATION: round(VALIDATION_FRACTION * (total + learned))}
    if len(order) >= 2:
        wanted[VALIDATION] = max(1, wanted[VALIDATION])
    if test_fraction > 0 and len(order) >= 3:
        wanted[TEST] = max(1, round(test_fraction * total))
    to_learn = 0 if learned else 1
    sets: dict[str, str] = {}
    for number, (its_set, target) in enumerate(wanted.items(), start=1):
        left = [patient for patient in order if patient not in sets]
        most = len(left) - (len(wanted) - number) - to_learn
        sets.update(dict.fromkeys(_choose(left, counts, target, most), its_set))
    return {patient: sets.get(patient, TRAIN) for patient in order}


def _choose(order: Sequence[str], counts: Mapping[str, int], target: int, most: int) -> list[str]:
    """Return patients, the earliest possible, whose cases come closest to a number of cases.

    Args:
        order: Patients in the order in which they are drawn.
        counts: Cases by patient.
        target: Wanted number of cases.
        most: Largest number of patients that may be taken.
    """
    if target < 1 or most < 1:
        return []
    # Beyond twice the target taking none at all would be closer, but one patient is a must.
    limit = max(2 * target, min(counts[patient] for patient in order))
    ways: dict[int, list[str]] = {0: []}
    for patient in order:
        for total in sorted(ways, reverse=True):
            bigger = total + counts[patient]
            if bigger <= limit and bigger not in ways and len(ways[total]) < most:
                ways[bigger] = [*ways[total], patient]
        if target in ways:
            break
    sums = [total for total in ways if total > 0]
    return ways[min(sums, key=lambda total: (abs(total - target), total))]


def _rank(patient: str, seed: int) -> str:
    # A hash, not a random generator: the same on every platform and for every order of cases.
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()
