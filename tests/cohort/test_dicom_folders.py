"""DICOM series as cases of a project."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_attnseg.cohort import LayoutError, Project, recognise
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.jobs.inputs import read_images

Series = Callable[..., None]
SLICES = np.random.default_rng(2).integers(0, 900, (4, 6, 5)).astype(np.int16)
MASK = (np.arange(4 * 6 * 5).reshape(1, 4, 6, 5) % 7 == 0).astype(np.uint8)


def segmentation(path: Path, series: Path) -> Path:
    """Write a DICOM SEG of a series."""
    label = read_volume(series).on_grid(MASK, classes={1: "node"})
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_volume(path, label, source=series)


def test_series_are_read_in_place_under_the_names_of_their_folders(
    tmp_path: Path, write_series: Series
) -> None:
    for name in ("scan_1", "scan_10", "scan_2"):
        write_series(tmp_path / "data" / name / "IMAGES", SLICES)

    project = Project.create(tmp_path / "project", recognise(tmp_path / "data"))

    assert [case.name for case in project.cases] == ["scan_1", "scan_2", "scan_10"]
    assert [case.set for case in project.cases] == [None, None, None]
    image = read_images(project.case("scan_2").images)
    assert np.array_equal(image.data[0], SLICES)


@pytest.mark.parametrize("place", ["{case}/seg.dcm", "labels/{case}.dcm", "labels/{case}/x.dcm"])
def test_a_dicom_segmentation_lies_on_the_series_that_it_was_drawn_on(
    place: str, tmp_path: Path, write_series: Series
) -> None:
    for name in ("scan_1", "scan_2"):
        write_series(tmp_path / "data" / name / "ct", SLICES)
        segmentation(tmp_path / "data" / place.format(case=name), tmp_path / "data" / name / "ct")

    project = Project.create(tmp_path / "project", recognise(tmp_path / "data"))

    for case in project.cases:
        label = read_volume(case.label, labels=True)
        assert np.array_equal(label.data, MASK)
        assert label.grid.difference(read_images(case.images).grid) is None
    assert {case.set for case in project.cases} == {"train", "val"}


@pytest.mark.parametrize(
    "place", ["{case}/label.nii.gz", "labels/{case}.nii.gz", "{case}_seg.nii.gz"]
)
def test_a_label_may_be_a_volume_with_the_case_or_beside_it(
    place: str, tmp_path: Path, write_series: Series
) -> None:
    for name in ("scan_1", "scan_2"):
        write_series(tmp_path / "data" / name, SLICES)
        label = read_volume(tmp_path / "data" / name).on_grid(MASK)
        write_volume(tmp_path / "data" / place.format(case=name), label.reoriented("RAS"))

    project = Project.create(tmp_path / "project", recognise(tmp_path / "data"))

    for case in project.cases:
        assert np.array_equal(read_volume(case.label, labels=True).data, MASK)


def test_series_in_folders_of_one_name_in_every_case_are_its_images(
    tmp_path: Path, write_series: Series
) -> None:
    for name in ("scan_1", "scan_2"):
        for n, sequence in enumerate(("FLAIR", "T1")):
            write_series(tmp_path / "data" / name / sequence, SLICES + n)

    cohort = recognise(tmp_path / "data")

    assert cohort.channels == ("FLAIR", "T1")
    project = Project.create(tmp_path / "project", cohort)
    image = read_images(project.case("scan_1").images)
    assert np.array_equal(image.data, np.stack([SLICES, SLICES + 1]))


def test_several_series_in_one_folder_are_left_out_with_their_list(
    tmp_path: Path, write_series: Series
) -> None:
    write_series(tmp_path / "data" / "scan_1", SLICES)
    for letter in "ab":
        write_series(tmp_path / "data" / "scan_2", SLICES, names=letter + "{}.dcm")

    cohort = recognise(tmp_path / "data")

    assert [case.name for case in cohort.cases] == ["scan_1"]
    assert "scan_2 is left out" in cohort.warnings[0]
    assert "1: MR (4 slices); 2: MR (4 slices)" in cohort.warnings[0]


def test_slices_in_the_folder_itself_are_one_case(tmp_path: Path, write_series: Series) -> None:
    write_series(tmp_path / "scan_7", SLICES)

    assert [case.name for case in recognise(tmp_path / "scan_7").cases] == ["scan_7"]


def test_folders_of_several_patients_below_are_no_case(
    tmp_path: Path, write_series: Series
) -> None:
    for patient in ("p1", "p2"):
        write_series(tmp_path / "site" / patient / "ct", SLICES)

    with pytest.raises(LayoutError, match="Its folder 'site' holds cases"):
        recognise(tmp_path)


def test_nothing_of_the_patient_gets_into_a_project_or_the_log(
    tmp_path: Path, write_series: Series, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("scan_1", "scan_2"):
        write_series(tmp_path / "data" / name / "ct", SLICES, description="CT of SECRET^NAME")
        segmentation(tmp_path / "data" / "labels" / f"{name}.dcm", tmp_path / "data" / name / "ct")

    project = Project.create(tmp_path / "project", recognise(tmp_path / "data"))
    for case in project.cases:
        read_images(case.images), read_volume(case.label, labels=True)

    written = [one.read_bytes() for one in project.path.rglob("*") if one.is_file()]
    assert len(written) >= 3
    assert not any(b"SECRET" in one for one in written)
    assert "SECRET" not in caplog.text
