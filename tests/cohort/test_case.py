from __future__ import annotations

import pytest

from napari_attnseg.cohort.case import Case, listed, natural, patient_of


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("hippocampus_001", "hippocampus_001"),
        ("sub-01_ses-2_T1w", "sub-01"),
        ("patient007_frame01", "patient007"),
        ("case12_visit2", "case12"),
        ("case12_left", "case12"),
        ("case12_left_scan3", "case12"),
        ("mri_scan_01", "mri_scan_01"),
        ("scan_01", "scan_01"),
        ("BraTS2021_00001", "BraTS2021_00001"),
    ],
)
def test_the_patient_is_told_from_the_name(name: str, patient: str) -> None:
    assert patient_of(name) == patient


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    names = ["case_10", "case_2", "Case_1", "10", "9a"]

    assert sorted(names, key=natural) == ["9a", "10", "Case_1", "case_2", "case_10"]


def test_long_lists_are_cut_short_in_sentences() -> None:
    assert listed(["a3", "a1", "a20", "a2"]) == "a1, a2, a3 and 1 more"


def test_a_case_without_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        Case("a", {})
