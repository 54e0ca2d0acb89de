"""What people type for the images of a case."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_attnseg.cli.inputs import bind_input
from napari_attnseg.jobs.inputs import JobError

CHANNELS = ("T1", "FLAIR")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_file_is_the_only_image_and_gives_the_name(tmp_path: Path) -> None:
    file = tmp_path / "case_7_0000.nii.gz"
    touch(file)

    assert bind_input(str(file), ["MRI"]) == {"name": "case_7", "images": {"MRI": str(file)}}


def test_named_files_come_in_the_order_of_the_run() -> None:
    found = bind_input("flair=b/x.nii.gz,t1=a/x.nii.gz", CHANNELS)

    assert list(found["images"].items()) == [("T1", "a/x.nii.gz"), ("FLAIR", "b/x.nii.gz")]
    assert found["name"] == "x"


def test_a_comma_in_a_path_does_not_end_it() -> None:
    found = bind_input("T1=a, b/x.nii.gz,FLAIR=c.nii.gz", CHANNELS)

    assert found["images"]["T1"] == "a, b/x.nii.gz"


def test_a_missing_image_is_refused_by_its_name() -> None:
    with pytest.raises(JobError, match="FLAIR is missing"):
        bind_input("T1=a.nii.gz", CHANNELS)


def test_an_image_that_the_run_does_not_know_is_refused() -> None:
    with pytest.raises(JobError, match="knows no image 't2'"):
        bind_input("T1=a.nii.gz,FLAIR=b.nii.gz,T2=c.nii.gz", CHANNELS)


def test_a_case_folder_is_bound_by_the_words_in_its_file_names(tmp_path: Path) -> None:
    folder = tmp_path / "sub-03"
    touch(folder / "sub-03_t1.nii.gz", folder / "sub-03_flair.nii.gz", folder / "t1ce.nii.gz")

    found = bind_input(str(folder), CHANNELS)

    assert found["name"] == "sub-03"
    assert [Path(one).name for one in found["images"].values()] == [
        "sub-03_t1.nii.gz",
        "sub-03_flair.nii.gz",
    ]


def test_a_case_folder_with_two_candidates_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a_t1.nii.gz", tmp_path / "b_t1.nii.gz", tmp_path / "flair.nii.gz")

    with pytest.raises(JobError, match="could be T1"):
        bind_input(str(tmp_path), CHANNELS)


def test_a_case_folder_without_an_image_of_the_run_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "t1.nii.gz", tmp_path / "t2.nii.gz")

    with pytest.raises(JobError, match="FLAIR is missing"):
        bind_input(str(tmp_path), CHANNELS)


def test_a_folder_without_volumes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no volume"):
        bind_input(str(tmp_path), CHANNELS)


def test_numbered_files_of_nnunet_are_found_from_the_first(tmp_path: Path) -> None:
    files = [tmp_path / f"case_{index:04}.nii.gz" for index in range(2)]
    touch(*files, tmp_path / "other_0000.nii.gz")

    found = bind_input(str(files[0]), CHANNELS)

    assert found == {"name": "case", "images": {"T1": str(files[0]), "FLAIR": str(files[1])}}


def test_one_file_without_a_number_holds_all_images(tmp_path: Path) -> None:
    file = tmp_path / "BRATS_001.nii.gz"
    touch(file)

    assert bind_input(str(file), CHANNELS)["images"] == {"T1": str(file), "FLAIR": str(file)}
