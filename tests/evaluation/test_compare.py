"""Means, pairing and tests of compared networks, against enumeration and sums by hand."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

from napari_attnseg.evaluation.compare import Trial, compare_trials, holm, signed_rank_p
from napari_attnseg.evaluation.compare_files import (
    as_text,
    table,
    write_cases,
    write_comparison_report,
    write_table,
)

CLASSES = {1: "front", 2: "back"}


def trial(attention: str, seed: int, *scores: float | None, backbone: str = "unet3d") -> Trial:
    """Return a trial whose cases have one class each, in turn."""
    cases = {f"case_{at}": {1: score} for at, score in enumerate(scores)}
    return Trial(backbone, attention, "dice-ce", seed, 1_000, 60.0, cases)


def signed_rank_by_enumeration(differences: list[float]) -> float:
    """Return the share of all sign patterns whose rank sum is at least as far from its mean."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    middle = ranks.sum() / 2
    observed = abs(ranks[np.array(differences) > 0].sum() - middle)
    patterns = itertools.product((0, 1), repeat=len(ranks))
    sums = np.array([np.dot(pattern, ranks) for pattern in patterns])
    return float((np.abs(sums - middle) >= observed - 1e-9).mean())


@pytest.mark.parametrize("seed", range(4))
def test_the_p_of_a_signed_rank_test_counts_sign_patterns(seed: int) -> None:
    differences = list(np.random.default_rng(seed).normal(0.4, 1, 9))

    assert signed_rank_p(differences) == pytest.approx(signed_rank_by_enumeration(differences))


def test_cases_without_a_difference_are_left_out_of_the_test() -> None:
    assert signed_rank_p([0.1, 0.2, 0.0, 0.3, 0.0]) == pytest.approx(2 / 2**3)


def test_networks_that_never_differ_have_a_p_of_one() -> None:
    assert signed_rank_p([0.0, 0.0, 0.0]) == 1.0


def test_without_cases_there_is_no_p() -> None:
    assert signed_rank_p([]) is None


def test_holm_multiplies_the_smallest_by_their_number_and_never_falls() -> None:
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.6})

    assert corrected == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.6})


def test_a_p_is_never_corrected_beyond_one() -> None:
    assert holm({"a": 0.4, "b": 0.9}) == {"a": 0.8, "b": 0.9}


def test_means_are_over_cases_then_seeds_then_classes() -> None:
    cases = {"a": {1: 0.8, 2: 0.4}, "b": {1: 0.6, 2: None}}
    other = {"a": {1: 0.9, 2: 0.6}, "b": {1: 0.9, 2: None}}
    trials = [
        Trial("unet3d", "none", "dice-ce", seed, 10, seconds, found)
        for seed, seconds, found in ((0, 100.0, cases), (1, 140.0, other))
    ]

    (row,) = compare_trials(trials)

    assert row.means == pytest.approx({1: (0.7 + 0.9) / 2, 2: (0.4 + 0.6) / 2})
    assert row.dice == pytest.approx((0.8 + 0.5) / 2)
    assert row.spread == pytest.approx(np.std([(0.7 + 0.4) / 2, (0.9 + 0.6) / 2], ddof=1))
    assert row.seconds == 120.0
    assert row.test is None


def test_a_case_scores_its_mean_over_the_seeds_that_both_networks_have() -> None:
    trials = [
        trial("none", 0, 0.5, 0.5, 0.5),
        trial("none", 1, 0.7, 0.7, 0.7),
        trial("se", 0, 0.6, 0.5, 0.4),
        trial("se", 1, 0.9, 0.7, 0.9),
        trial("se", 2, 0.0, 0.0, 0.0),
    ]

    test = compare_trials(trials)[1].test

    assert test is not None
    assert test.seeds == (0, 1)
    assert (test.cases, test.better, test.worse) == (3, 2, 0)
    assert test.difference == pytest.approx((0.15 + 0.0 + 0.05) / 3)


def test_attention_is_tested_against_its_own_backbone_only() -> None:
    trials = [
        trial("none", 0, 0.5, 0.5),
        trial("se", 0, 0.6, 0.7),
        trial("none", 0, 0.9, 0.9, backbone="vnet"),
        trial("se", 0, 0.8, 0.7, backbone="vnet"),
        trial("se", 0, 0.8, 0.7, backbone="voxresnet"),
    ]

    tests = {(row.backbone, row.attention): row.test for row in compare_trials(trials)}

    differences = [one and one.difference for one in tests.values()]
    assert differences == [None, pytest.approx(0.15), None, pytest.approx(-0.15), None]


def test_cases_that_one_network_has_no_score_for_are_not_paired() -> None:
    trials = [trial("none", 0, 0.5, None, 0.5, 0.1), trial("se", 0, 0.6, 0.9, None, 0.2)]

    test = compare_trials(trials)[1].test

    assert test is not None
    assert test.cases == 2


def test_all_tests_of_a_table_are_corrected_together() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.6, 8)
    trials = [trial("none", 0, *base)]
    trials += [
        trial(name, 0, *(base + rng.uniform(0.01, 0.1, 8))) for name in ("se", "pe", "cbam")
    ]

    tests = [row.test for row in compare_trials(trials) if row.test]

    assert [test.p for test in tests] == [pytest.approx(2 / 2**8)] * 3
    assert [test.p_holm for test in tests] == [pytest.approx(3 * 2 / 2**8)] * 3


def rows() -> list[Trial]:
    return [trial("none", 0, 0.5, 0.5), trial("se", 0, 0.6, 0.7)]


def test_the_table_names_classes_and_leaves_out_what_does_not_exist() -> None:
    cells = table(compare_trials(rows()), CLASSES)

    assert cells[0][:3] == ["backbone", "attention", "front"]
    assert cells[1] == ["unet3d", "none", "0.5000", "0.5000", "", "", "", "", "1,000", "60"]
    assert cells[2][5:8] == ["+0.1500", "2", "0.500"]


def test_the_columns_of_the_text_stand_below_each_other() -> None:
    lines = as_text(table(compare_trials(rows()), CLASSES)).splitlines()

    assert lines[1].index("0.5000") == lines[2].index("0.6500")


def test_csv_files_hold_every_number(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", compare_trials(rows()), CLASSES)
    write_cases(tmp_path / "cases.csv", rows())

    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["attention"] for row in found] == ["none", "se"]
    assert float(found[1]["dice_1_front"]) == pytest.approx(0.65)
    assert float(found[1]["p_holm"]) == pytest.approx(0.5)
    assert found[0]["p"] == ""
    with (tmp_path / "cases.csv").open(encoding="utf-8") as file:
        cases = list(csv.DictReader(file))
    assert [float(row["dice"]) for row in cases] == [0.5, 0.5, 0.6, 0.7]


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_a_report_holds_the_table_and_the_facts(tmp_path: Path, name: str) -> None:
    write_comparison_report(
        tmp_path / name,
        compare_trials(rows()),
        CLASSES,
        title="Networks < others",
        facts=["300 steps each."],
    )

    text = (tmp_path / name).read_text(encoding="utf-8")
    assert "0.6500" in text
    assert "300 steps each." in text
    assert ("&lt;" in text) == (name.endswith("html"))
