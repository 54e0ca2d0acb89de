from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.cohort import LayoutError, recognise

Write = Callable[..., Path]
WriteJson = Callable[[str, Any], Path]


def rows(*names: str) -> list[dict[str, str]]:
    return [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name in names
    ]


def labels_of(folder: Path) -> dict[str, str | None]:
    cases = recognise(folder).cases
    return {case.name: case.label.name if case.label else None for case in cases}


def test_a_decathlon_is_read_with_its_names(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    write("imagesTr/a_1.nii.gz"), write("labelsTr/a_1.nii.gz", 1)
    table = {"0": "background", "2": "spleen", "1": "liver"}
    write_json("dataset.json", {"modality": {"0": "CT"}, "labels": table, "training": rows("a_1")})

    cohort = recognise(tmp_path)

    assert cohort.classes == {1: "liver", 2: "spleen"}
    assert cohort.channels == ("CT",)
    assert cohort.cases[0].images == {"CT": tmp_path / "imagesTr/a_1.nii.gz"}
    assert cohort.cases[0].label == tmp_path / "labelsTr/a_1.nii.gz"
    assert cohort.warnings == ()


def test_one_file_may_hold_all_channels(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    path = write("imagesTr/a.nii.gz", channels=3)
    write("labelsTr/a.nii.gz", 1)
    names = {"2": "T2", "0": "FLAIR", "1": "T1"}
    write_json("dataset.json", {"modality": names, "labels": {}, "training": rows("a")})

    cohort = recognise(tmp_path)

    assert list(cohort.cases[0].images.items()) == [("FLAIR", path), ("T1", path), ("T2", path)]


def test_a_case_with_fewer_channels_than_the_others_is_left_out_with_a_warning(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    for name, channels in (("a", 2), ("b", 1), ("c", 2)):
        write(f"imagesTr/{name}.nii.gz", channels=channels)
        write(f"labelsTr/{name}.nii.gz", 1)
    names = {"0": "FLAIR", "1": "T1"}
    write_json("dataset.json", {"modality": names, "labels": {}, "training": rows(*"abc")})

    cohort = recognise(tmp_path)

    assert [case.name for case in cohort.cases] == ["a", "c"]
    assert "1 case is left out" in cohort.warnings[0]


def test_listed_files_that_are_missing_are_told(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    write("imagesTr/a.nii.gz"), write("labelsTr/a.nii.gz", 1)
    write("imagesTr/b.nii.gz")
    write("labelsTr/c.nii.gz", 1)
    write_json("dataset.json", {"labels": {}, "training": rows("a", "b", "c")})

    cohort = recognise(tmp_path)

    assert labels_of(tmp_path) == {"a": "a.nii.gz", "b": None}
    text = " ".join(cohort.warnings)
    assert "b has no label" in text
    assert "c.nii.gz has no image" in text


def test_files_that_the_list_does_not_name_are_left_out_with_one_warning(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    for name in ("a", "b", "c"):
        write(f"imagesTr/{name}.nii.gz"), write(f"labelsTr/{name}.nii.gz", 1)
    write("imagesTr/extra.nii.gz")
    write_json("dataset.json", {"labels": {}, "training": rows("a")})

    cohort = recognise(tmp_path)

    assert labels_of(tmp_path) == {"a": "a.nii.gz"}
    assert cohort.warnings == (
        "dataset.json does not list 3 images in imagesTr and 2 labels in labelsTr, which are left "
        "out (b.nii.gz, c.nii.gz, extra.nii.gz). List them there to have them.",
    )


def test_a_listed_case_without_a_label_takes_none_that_is_not_listed(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    write("imagesTr/a.nii.gz"), write("imagesTr/b.nii.gz")
    write("labelsTr/a.nii.gz", 1), write("labelsTr/b.nii.gz", 1)
    training = [*rows("a"), {"image": "./imagesTr/b.nii.gz"}]
    write_json("dataset.json", {"labels": {}, "training": training})

    cohort = recognise(tmp_path)

    assert labels_of(tmp_path) == {"a": "a.nii.gz", "b": None}
    assert "b has no label" in cohort.warnings[0]
    assert "1 label in labelsTr, which is left out (b.nii.gz)" in cohort.warnings[1]


def test_the_decathlons_own_test_images_stay_test_cases(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    write("imagesTr/a.nii.gz"), write("labelsTr/a.nii.gz", 1), write("imagesTs/t.nii.gz")
    content = {"labels": {}, "training": rows("a"), "test": ["./imagesTs/t.nii.gz"]}
    write_json("dataset.json", content)

    cohort = recognise(tmp_path)

    assert {case.name: case.is_test for case in cohort.cases} == {"a": False, "t": True}
    assert cohort.warnings == ()


def test_nnunet_raw_is_read_with_its_channels(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    for name in ("x_2", "x_10"):
        write(f"imagesTr/{name}_0000.nii.gz"), write(f"imagesTr/{name}_0001.nii.gz")
        write(f"labelsTr/{name}.nii.gz", 1)
    write_json(
        "dataset.json",
        {
            "channel_names": {"0": "T1", "1": "FLAIR"},
            "labels": {"background": 0, "core": 2, "oedema": 1, "ignore": 3},
            "file_ending": ".nii.gz",
        },
    )

    cohort = recognise(tmp_path)

    assert [case.name for case in cohort.cases] == ["x_2", "x_10"]
    assert cohort.cases[0].images == {
        "T1": tmp_path / "imagesTr/x_2_0000.nii.gz",
        "FLAIR": tmp_path / "imagesTr/x_2_0001.nii.gz",
    }
    assert cohort.classes == {1: "oedema", 2: "core"}
    assert cohort.ignore_label == 3


def test_nnunet_regions_name_each_value_by_the_smallest(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    write("imagesTr/a_0000.nii.gz"), write("labelsTr/a.nii.gz", 1, 2, 3)
    table = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
    write_json("dataset.json", {"channel_names": {"0": "T1"}, "labels": table})

    assert recognise(tmp_path).classes == {1: "whole", 2: "core", 3: "enhancing"}


def test_an_nnunet_case_without_one_channel_is_left_out(tmp_path: Path, write: Write) -> None:
    write("imagesTr/a_0000.nii.gz"), write("imagesTr/a_0001.nii.gz")
    write("imagesTr/b_0000.nii.gz")
    write("labelsTr/a.nii.gz", 1), write("labelsTr/b.nii.gz", 1)

    cohort = recognise(tmp_path)

    assert [case.name for case in cohort.cases] == ["a"]
    assert "1 case lacks" in cohort.warnings[0]


def test_nnunets_old_list_without_numbers_is_read(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    write("imagesTr/a_0000.nii.gz"), write("labelsTr/a.nii.gz", 1)
    content = {"modality": {"0": "CT"}, "labels": {"0": "b", "1": "liver"}, "training": rows("a")}
    write_json("dataset.json", content)

    cohort = recognise(tmp_path)

    assert labels_of(tmp_path) == {"a": "a.nii.gz"}
    assert cohort.classes == {1: "liver"}


def test_nnunets_test_labels_are_for_testing(tmp_path: Path, write: Write) -> None:
    write("imagesTr/a_0000.nii.gz"), write("labelsTr/a.nii.gz", 1)
    write("imagesTs/t_0000.nii.gz"), write("labelsTs/t.nii.gz", 1)

    cases = {case.name: case for case in recognise(tmp_path).cases}

    assert cases["t"].is_test
    assert cases["t"].label is not None


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("Images", "Masks"), ("imagesTr", "labelsTr"), ("CT", "seg"),
     ("images_nii", "labels-final")],
)  # fmt: skip
def test_folders_of_images_and_labels_are_recognised(
    tmp_path: Path, write: Write, images: str, labels: str
) -> None:
    write(f"{images}/a.nii.gz"), write(f"{images}/b.nii")
    write(f"{labels}/b.nii.gz", 1), write(f"{labels}/a.nii", 1)

    assert labels_of(tmp_path) == {"a": "a.nii", "b": "b.nii.gz"}


def test_names_that_differ_by_the_words_for_image_and_label_are_paired(
    tmp_path: Path, write: Write
) -> None:
    for n in (1, 2, 3):
        write(f"images/img_{n}.nii.gz"), write(f"labels/{n}_seg.nii.gz", 1)

    assert labels_of(tmp_path) == {f"img_{n}": f"{n}_seg.nii.gz" for n in (1, 2, 3)}


def test_what_could_belong_to_two_images_is_not_guessed(tmp_path: Path, write: Write) -> None:
    write("images/1_img.nii.gz"), write("images/img_1.nii.gz"), write("labels/1_seg.nii.gz", 1)

    cohort = recognise(tmp_path)

    assert labels_of(tmp_path) == {"1_img": None, "img_1": None}
    assert "cannot be told" in " ".join(cohort.warnings)


def test_a_shorter_list_of_labels_is_not_paired_by_position(tmp_path: Path, write: Write) -> None:
    for name in "abcd":
        write(f"images/{name}.nii.gz")
    write("labels/b.nii.gz", 1), write("labels/d.nii.gz", 1)

    assert labels_of(tmp_path) == {"a": None, "b": "b.nii.gz", "c": None, "d": "d.nii.gz"}


def test_numbered_channels_in_plain_folders_are_one_case(tmp_path: Path, write: Write) -> None:
    for name in "ab":
        write(f"images/{name}_0000.nii.gz"), write(f"images/{name}_0001.nii.gz")
        write(f"labels/{name}.nii.gz", 1)

    cohort = recognise(tmp_path)

    assert [len(case.images) for case in cohort.cases] == [2, 2]


def test_a_numbered_series_is_one_case_a_file(tmp_path: Path, write: Write) -> None:
    for n in range(3):
        write(f"images/scan_{n:04d}.nii.gz")

    assert len(recognise(tmp_path).cases) == 3


def test_labels_beside_their_images_are_told_by_their_names(tmp_path: Path, write: Write) -> None:
    write("t2.nii.gz"), write("t2_seg-manual.nii.gz", 1)
    write("t2s.nii.gz"), write("t2s_mask.nii.gz", 1)

    assert labels_of(tmp_path) == {"t2": "t2_seg-manual.nii.gz", "t2s": "t2s_mask.nii.gz"}


def test_a_folder_of_images_alone_is_a_cohort_to_label(tmp_path: Path, write: Write) -> None:
    write("a.nii.gz"), write("b.nii.gz"), write("._a.nii.gz")

    cohort = recognise(tmp_path)

    assert labels_of(tmp_path) == {"a": None, "b": None}
    assert cohort.warnings == ()


def test_files_that_would_be_one_case_are_left_out_with_a_warning(
    tmp_path: Path, write: Write
) -> None:
    write("images/a.nii.gz"), write("images/a.nii"), write("images/b.nii.gz")

    cohort = recognise(tmp_path)

    assert [case.name for case in cohort.cases] == ["b"]
    assert "same case a" in cohort.warnings[0]


def test_a_label_on_another_grid_is_told_at_once(tmp_path: Path, write: Write) -> None:
    write("images/a.nii.gz"), write("labels/a.nii.gz", 1, shift_mm=5)

    assert "+5.00 mm superior" in recognise(tmp_path).warnings[0]


def test_four_axes_without_names_are_numbered_channels(tmp_path: Path, write: Write) -> None:
    write("images/a.nii.gz", channels=2), write("images/b.nii.gz", channels=2)

    assert recognise(tmp_path).channels == ("image 1", "image 2")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"is empty. Looked for volumes \(.*nii.gz"):
        recognise(tmp_path)


def test_a_file_in_place_of_a_folder_is_refused(write: Write) -> None:
    with pytest.raises(LayoutError, match="is a file; give the folder"):
        recognise(write("a.nii.gz"))


def test_a_missing_folder_is_refused_and_a_similar_one_named(tmp_path: Path) -> None:
    (tmp_path / "hippocampus").mkdir()

    with pytest.raises(LayoutError, match=r"Did you mean '.*hippocampus'"):
        recognise(tmp_path / "hipocampus")


def test_a_folder_without_cases_says_what_was_looked_for_and_what_is_nearest(
    tmp_path: Path, write_json: WriteJson
) -> None:
    write_json("dataset.json", {"labels": {}, "training": rows("gone")})

    with pytest.raises(LayoutError, match=r"nearest match: .*gone.nii.gz.*Looked for "):
        recognise(tmp_path)


def test_a_damaged_dataset_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"training": [')

    with pytest.raises(LayoutError, match=r"dataset\.json is damaged"):
        recognise(tmp_path)


def test_cases_one_folder_further_down_are_pointed_at(tmp_path: Path, write: Write) -> None:
    write("Task04/images/a.nii.gz")

    with pytest.raises(LayoutError, match="Its folder 'Task04' holds cases"):
        recognise(tmp_path)


def test_the_hippocampus_set_is_recognised_as_it_is(shared_data: Path) -> None:
    cohort = recognise(shared_data / "hippocampus")

    assert len(cohort.cases) == 200
    assert cohort.classes == {1: "Anterior", 2: "Posterior"}
    assert all(case.label and case.label.name.startswith(case.name) for case in cohort.cases)
    assert cohort.warnings == ()


def test_faulty_pairs_of_the_hippocampus_set_are_told(shared_data: Path) -> None:
    cohort = recognise(shared_data / "hippocampus_faults")

    text = " ".join(cohort.warnings)
    assert "hippocampus_118 has no label" in text
    assert "hippocampus_010.nii.gz, hippocampus_281.nii.gz" in text


def test_files_of_one_name_in_many_folders_are_told_with_their_folder(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    names = [(f"{one}/t1.nii.gz", f"{one}/label.nii.gz") for one in ("p1", "p2")]
    for image, label in names:
        write(image), write(label, 1, shift_mm=4.0 if label.startswith("p2") else 0.0)
    training = [{"image": image, "label": label} for image, label in names[1:]]
    write_json("dataset.json", {"labels": {}, "training": training})

    cohort = recognise(tmp_path)

    assert "The label p2/label.nii.gz is on another grid" in cohort.warnings[0]
