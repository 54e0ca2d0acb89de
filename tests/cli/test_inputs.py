"""What people type for the images of a case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_attnseg.cli.inputs import bind_input
from napari_attnseg.io import read_volume
from napari_attnseg.jobs.inputs import JobError, read_images

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


SLICES = np.arange(3 * 5 * 4, dtype=np.int16).reshape(3, 5, 4)


def test_a_dicom_folder_is_an_image_and_gives_the_name(
    tmp_path: Path, write_series: Callable[..., None]
) -> None:
    write_series(tmp_path / "scan_3" / "series", SLICES)

    found = bind_input(str(tmp_path / "scan_3"), ["MRI"])

    assert found == {"name": "scan_3", "images": {"MRI": str(tmp_path / "scan_3")}}


def test_several_series_are_listed_with_how_to_choose_and_without_the_patient(
    tmp_path: Path, write_series: Callable[..., None]
) -> None:
    write_series(tmp_path, SLICES, names="a{}.dcm", description="sag")
    write_series(tmp_path, SLICES[:2], names="b{}.dcm", description="cor")

    with pytest.raises(JobError, match=r"holds 2 series.*\(3 slices\).*series=1") as refused:
        bind_input(str(tmp_path), ["MRI"])

    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("choice", ["cor", "2", "1"])
def test_a_series_is_chosen_by_its_number_or_description(
    choice: str, tmp_path: Path, write_series: Callable[..., None]
) -> None:
    write_series(tmp_path, SLICES, names="a{}.dcm", description="sag")
    write_series(tmp_path, SLICES[:2], names="b{}.dcm", description="cor")

    found = bind_input(f"{tmp_path},series={choice}", ["MRI"])

    image = read_images(found["images"])
    by_name = {"cor": 2}
    slices = {len(read_volume(tmp_path, series=n).data[0]) for n in (1, 2)}
    assert slices == {2, 3}
    expected = by_name.get(choice) or len(read_volume(tmp_path, series=choice).data[0])
    assert image.data.shape == (1, expected, 5, 4)


def test_named_images_may_be_dicom_folders_each_with_its_series(
    tmp_path: Path, write_series: Callable[..., None]
) -> None:
    write_series(tmp_path / "one", SLICES)
    write_series(tmp_path / "two", SLICES + 1, names="a{}.dcm", description="first")
    write_series(tmp_path / "two", SLICES + 2, names="b{}.dcm", description="second")

    text = f"FLAIR={tmp_path / 'two'},series=second,T1={tmp_path / 'one'}"
    image = read_images(bind_input(text, CHANNELS)["images"])

    assert np.array_equal(image.data, np.stack([SLICES, SLICES + 2]))
    assert image.channels == CHANNELS


def test_the_series_of_a_case_folder_are_bound_by_the_names_of_their_folders(
    tmp_path: Path, write_series: Callable[..., None]
) -> None:
    write_series(tmp_path / "case" / "ax_flair", SLICES + 5)
    write_series(tmp_path / "case" / "ax_T1", SLICES)
    write_series(tmp_path / "case" / "localizer", SLICES)

    image = read_images(bind_input(str(tmp_path / "case"), CHANNELS)["images"])

    assert np.array_equal(image.data, np.stack([SLICES, SLICES + 5]))


def test_a_series_that_is_not_there_is_refused_by_its_name(
    tmp_path: Path, write_series: Callable[..., None]
) -> None:
    write_series(tmp_path / "case" / "t1", SLICES)
    write_series(tmp_path / "case" / "t2", SLICES)

    with pytest.raises(JobError, match="FLAIR is missing"):
        bind_input(str(tmp_path / "case"), CHANNELS)


def test_one_file_of_a_series_stands_for_all_of_it(
    tmp_path: Path, write_series: Callable[..., None]
) -> None:
    write_series(tmp_path, SLICES, names="IM{}.dcm")

    image = read_images(bind_input(str(tmp_path / "IM1.dcm"), ["MRI"])["images"])

    assert np.array_equal(image.data[0], SLICES)


def test_a_choice_of_series_in_what_has_none_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz")

    with pytest.raises(JobError, match="no DICOM series"):
        bind_input(f"{tmp_path / 'a.nii.gz'},series=2", ["MRI"])


def test_slices_in_pictures_are_an_image(tmp_path: Path) -> None:
    for at in (1, 2, 10):
        Image.fromarray(np.full((4, 5), at, np.uint8)).save(tmp_path / f"slice{at}.png")

    image = read_images(bind_input(str(tmp_path), ["MRI"])["images"])

    assert image.data[0, :, 0, 0].tolist() == [1, 2, 10]
