"""Predictions are paired with references by name, scored on one grid, and written down."""

from __future__ import annotations

import csv
import json
import math

import nibabel as nib
import numpy as np
import pytest

from napari_attnseg import Volume, evaluate, write_volume
from napari_attnseg.evaluation import EvaluationError, write_report
from napari_attnseg.io import VolumeError
from napari_attnseg.io.regions import Regions
from napari_attnseg.volume import GridMismatchError

SHAPE = (4, 6, 8)
AFFINE = np.diag([2.0, 3.0, 5.0, 1.0])


def label(*columns, affine=AFFINE, classes=None):
    """Return a label map whose first columns of voxels hold the values given."""
    data = np.zeros((1, *SHAPE), np.uint8)
    for at, value in enumerate(columns):
        data[..., at] = value
    return Volume(data, affine, classes=classes or {})


@pytest.fixture
def folders(tmp_path):
    """Return a function that writes label maps as two folders."""

    def write(predictions, references):
        for folder, labels in (("pred", predictions), ("ref", references)):
            (tmp_path / folder).mkdir()
            for name, volume in labels.items():
                write_volume(tmp_path / folder / f"{name}.nii.gz", volume)
        return tmp_path / "pred", tmp_path / "ref"

    return write


def test_two_volumes_are_scored_with_volumes_in_ml():
    found = evaluate(label(1, 1), label(0, 1, 1, 1), classes={1: "spleen"})

    score = found.cases[0].classes[1]
    assert score.name == "spleen"
    assert score.dice == pytest.approx(2 * 1 / (2 + 3))
    assert score.iou == pytest.approx(1 / 4)
    assert score.volume_ml == pytest.approx(2 * 24 * 0.03)
    assert score.reference_ml == pytest.approx(3 * 24 * 0.03)


def test_the_json_is_exactly_this(folders):
    found = evaluate(
        *folders({"a": label(1, 1)}, {"a": label(1), "b": label(2)}), classes={1: "one"}
    )

    assert found.to_json() == {
        "cases": [
            {
                "case": "a",
                "classes": {
                    "1": {
                        "name": "one",
                        "dice": pytest.approx(2 / 3),
                        "iou": 0.5,
                        "volume_ml": pytest.approx(1.44),
                        "reference_ml": pytest.approx(0.72),
                    }
                },
            }
        ],
        "mean": {"1": {"dice": pytest.approx(2 / 3), "iou": 0.5}},
        "unmatched": ["b"],
    }


def test_both_empty_is_null_and_left_out_of_the_mean_while_one_empty_is_zero(folders):
    predictions = {"both": label(), "missed": label(), "false": label(1), "right": label(1)}
    references = {"both": label(), "missed": label(1), "false": label(), "right": label(1)}

    found = evaluate(*folders(predictions, references)).to_json()

    dice = {case["case"]: case["classes"]["1"]["dice"] for case in found["cases"]}
    assert dice == {"both": None, "missed": 0, "false": 0, "right": 1}
    assert found["mean"]["1"]["dice"] == pytest.approx(1 / 3)


def test_a_class_that_no_case_has_has_no_mean_and_json_holds_no_nan(folders):
    found = evaluate(*folders({"a": label()}, {"a": label()}), classes={1: "one"})

    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["mean"] == {"1": {"dice": None, "iou": None}}


def test_every_value_found_is_scored_where_no_classes_are_given(folders):
    predictions = {"a": label(1, 5), "b": label(530 % 256)}
    references = {"a": label(1, 7), "b": label(18)}

    found = evaluate(*folders(predictions, references))

    assert [list(case.classes) for case in found.cases] == [[1, 5, 7, 18], [1, 5, 7, 18]]
    assert found.cases[1].classes[1].dice is None


def test_class_names_in_the_files_are_used(folders):
    found = evaluate(*folders({"a": label(1)}, {"a": label(1, classes={1: "spleen"})}))

    assert found.classes == {1: "spleen"}


def test_a_value_of_no_class_is_warned_of():
    found = evaluate(label(1, 9), label(1), classes={1: "one"})

    assert list(found.cases[0].classes) == [1]
    assert "values 9 belong to no class" in found.warnings[0]


def test_another_grid_is_refused_with_how_it_differs(folders):
    low = AFFINE.copy()
    low[2, 3] = -5
    folder, references = folders({"a": label(1, affine=low)}, {"a": label(1)})

    with pytest.raises(GridMismatchError, match=r"reference of 'a'.*-5\.00 mm superior"):
        evaluate(folder, references)


def test_another_size_is_refused():
    other = Volume(np.zeros((1, 3, 6, 8), np.uint8), AFFINE)

    with pytest.raises(GridMismatchError, match="4 x 6 x 8 and 3 x 6 x 8 voxels"):
        evaluate(other, label(1))


def test_a_prediction_without_a_reference_is_refused_by_name(folders):
    with pytest.raises(EvaluationError, match="no reference for the prediction 'b', 'c'"):
        evaluate(*folders({"a": label(), "b": label(), "c": label()}, {"a": label()}))


def test_references_without_a_prediction_are_listed(folders):
    found = evaluate(*folders({"b": label(1)}, {"c": label(1), "b": label(1), "a": label(1)}))

    assert found.unmatched == ("a", "c")


def test_files_of_nnunet_and_other_endings_are_matched_by_name(tmp_path):
    prediction = write_volume(tmp_path / "pred" / "case_1.nii", label(1))
    reference = write_volume(tmp_path / "ref" / "case_1_0000.nii.gz", label(1))

    found = evaluate(prediction.parent, reference.parent)

    assert [case.case for case in found.cases] == ["case_1"]


def test_two_files_need_not_have_one_name(tmp_path):
    prediction = write_volume(tmp_path / "mine.nii", label(1))
    reference = write_volume(tmp_path / "truth.nii.gz", label(1))

    assert evaluate(prediction, str(reference)).mean(1) == {"dice": 1.0, "iou": 1.0}


def test_a_file_is_scored_against_a_folder(folders):
    predictions, references = folders({"a": label(1)}, {"a": label(1), "b": label(1)})

    assert evaluate(predictions / "a.nii.gz", references).mean(1)["dice"] == 1


def test_a_volume_is_scored_against_a_file(tmp_path):
    path = write_volume(tmp_path / "truth.nii.gz", label(1))

    assert evaluate(label(1), path).cases[0].case == "truth"


def test_what_prediction_writes_beside_a_mask_is_no_mask(folders):
    probabilities = Volume(np.full((2, *SHAPE), 0.5, np.float32), AFFINE)
    predictions = {"a": label(1), "a_probabilities": probabilities, "a_uncertainty": probabilities}

    found = evaluate(*folders(predictions, {"a": label(1)}))

    assert [case.case for case in found.cases] == ["a"]


def test_equal_names_in_one_folder_are_refused(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        write_volume(tmp_path / name, label(1))

    with pytest.raises(EvaluationError, match="same case name"):
        evaluate(tmp_path, tmp_path)


def test_a_folder_against_a_file_or_without_volumes_is_refused(tmp_path):
    path = write_volume(tmp_path / "ref" / "a.nii", label(1))
    (tmp_path / "empty").mkdir()

    with pytest.raises(EvaluationError, match="must be a folder too"):
        evaluate(path.parent, path)
    with pytest.raises(EvaluationError, match="no volume in the folder"):
        evaluate(tmp_path / "empty", path.parent)


def test_a_label_with_nan_is_refused(folders):
    bad = Volume(np.full((1, *SHAPE), np.nan, np.float32), AFFINE)

    with pytest.raises(VolumeError, match=r"The reference of a cannot be used: .*NaN"):
        evaluate(*folders({"a": label(1)}, {"a": bad}))


def test_the_csv_has_a_row_for_each_case_and_class_and_empty_cells(folders, tmp_path):
    found = evaluate(*folders({"a": label(1), "b": label(2)}, {"a": label(1), "b": label(2)}))

    with found.to_csv(tmp_path / "out" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert [(row["case"], row["class"], row["dice"]) for row in rows] == [
        ("a", "1", "1.0"), ("a", "2", ""), ("b", "1", ""), ("b", "2", "1.0"),
    ]  # fmt: skip
    assert list(rows[0]) == ["case", "class", "name", "dice", "iou", "volume_ml", "reference_ml"]


def test_real_pairs_score_as_a_plain_loop_does(shared_data):
    folder = shared_data / "metrics" / "spine_semantic"

    found = evaluate(folder / "pred.nii.gz", folder / "ref.nii.gz")

    first, second = (
        np.asanyarray(nib.load(folder / f"{one}.nii.gz").dataobj) for one in ("pred", "ref")
    )
    for value, score in found.cases[0].classes.items():
        both = int(((first == value) & (second == value)).sum())
        sizes = int((first == value).sum()) + int((second == value).sum())
        assert math.isclose(score.dice, 2 * both / sizes)


def test_real_labels_on_other_grids_are_refused(shared_data):
    folder = shared_data / "hostile"
    ways = {
        "label_origin_shift5": r"\+5\.00 mm superior",
        "label_spacing2": "voxel sizes",
        "label_half_grid": "sizes are",
        "lefthanded_label": "orders RAS and LAS",
    }
    for name, how in ways.items():
        with pytest.raises(GridMismatchError, match=how):
            evaluate(folder / f"{name}.nii.gz", folder / "ok_label.nii.gz")


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_report_names_cases_classes_and_its_limits(folders, tmp_path, name):
    classes = {1: "kidney <left>", 2: "cyst"}
    predictions = {"good": label(1), "bad|one": label(0, 1)}
    references = {"good": label(1), "bad|one": label(1, 1, 2), "other": label()}
    found = evaluate(*folders(predictions, references), classes=classes)

    text = write_report(found, tmp_path / name, title="Run 7").read_text()

    assert "For research use, not a medical device" in text
    assert "Run 7" in text
    assert text.index("bad") < text.index("good")
    assert "1 reference has no prediction: other" in text
    assert "1.000" in text
    if name.endswith(".html"):
        assert "kidney &lt;left&gt;" in text
        assert "http" not in text


BRATS = Regions({"WT": frozenset((1, 2, 4)), "TC": frozenset((1, 4)), "ET": frozenset((4,))})


def test_regions_are_scored_beside_the_classes_as_their_masks_alone_are(folders):
    pair = {"a": label(1, 2, 4, 0), "b": label(2, 2)}, {"a": label(1, 4, 4, 2), "b": label(2)}

    written = folders(*pair)
    found = evaluate(*written, regions=BRATS)

    for case, first, second in zip(found.cases, *(one.values() for one in pair), strict=True):
        for name, values in BRATS:
            masks = [
                volume.replace(data=np.isin(volume.data, list(values)).astype(np.uint8))
                for volume in (first, second)
            ]
            alone = evaluate(*masks, classes={1: name}).cases[0].classes[1]
            assert case.regions[name] == alone
    content = found.to_json()
    assert content["cases"][1]["regions"]["ET"]["dice"] is None
    assert content["regions"]["ET"] == {"dice": found.cases[0].regions["ET"].dice, "iou": 1 / 2}
    plain = evaluate(*written).to_json()
    assert content["cases"][0]["classes"] == plain["cases"][0]["classes"]


def test_without_regions_the_json_has_no_word_of_them(folders):
    assert "regions" not in json.dumps(
        evaluate(*folders({"a": label(1)}, {"a": label(1)})).to_json()
    )


def test_masks_whose_channels_overlap_are_scored_as_regions(tmp_path):
    def overlapping(columns):
        data = np.stack(
            [label(*[int(one >= level) for one in columns]).data[0] for level in (1, 2)]
        )
        return Volume(data, AFFINE, channels=("WT", "ET"))

    write_volume(tmp_path / "p" / "a.nii.gz", overlapping((1, 2, 2, 0)))
    write_volume(tmp_path / "r" / "a.nii.gz", overlapping((1, 1, 2, 2)))

    (case,) = evaluate(tmp_path / "p", tmp_path / "r").cases

    assert [one.dice for one in case.regions.values()] == pytest.approx([6 / 7, 0.5])


def test_a_mask_of_classes_is_not_scored_against_one_of_regions():
    data = np.stack([label(1, 1).data[0], label(1).data[0]])

    with pytest.raises(EvaluationError, match="not masks of the same kind"):
        evaluate(label(1, 2), Volume(data, AFFINE))


def test_the_report_and_the_table_of_a_case_hold_its_regions(folders, tmp_path):
    found = evaluate(*folders({"a": label(4, 1)}, {"a": label(4, 1)}), regions=BRATS)

    with found.to_csv(tmp_path / "scores.csv").open(newline="") as file:
        rows = [row["class"] for row in csv.DictReader(file)]
    assert rows == ["1", "4", "WT", "TC", "ET"]
    assert "WT" in write_report(found, tmp_path / "report.md").read_text()
