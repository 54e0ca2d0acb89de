"""The whole job from the command line, on a small cohort."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest


def image(cohort: Path, index: int) -> Path:
    return cohort / "imagesTr" / f"case_{index}.nii.gz"


def test_a_project_lists_its_cases_with_sets_and_states(project: Path, attnseg: Any) -> None:
    cases = attnseg("project", project, "--json").json["cases"]

    assert [case["case"] for case in cases] == [f"case_{index}" for index in range(6)]
    assert {"case", "images", "label", "set", "status"} <= set(cases[0])
    assert sorted(case["set"] for case in cases) == ["train"] * 5 + ["val"]


def test_an_empty_folder_of_cases_is_refused_and_leaves_no_project(
    attnseg: Any, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()

    answer = attnseg("project", tmp_path / "p", "--cases", tmp_path / "empty")

    assert answer.status == 1
    assert not (tmp_path / "p").exists()


def test_a_trained_run_has_its_files(trained: Path) -> None:
    names = {one.name for one in trained.iterdir()}

    assert names >= {
        "config.json", "plan.json", "metrics.jsonl", "weights.safetensors", "last.safetensors",
        "resume.pt", "result.json",
    }  # fmt: skip


def test_prediction_of_the_validation_cases_has_the_dice_of_the_result(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    out = tmp_path / "masks"

    predicted = attnseg("predict", trained, "--cases", "validation", "--out", out)
    scores = attnseg("evaluate", out, cohort / "labelsTr", "--json").json

    assert predicted.status == 0
    expected = json.loads((trained / "result.json").read_text())["validation"]["cases"]
    for case in scores["cases"]:
        for value, dice in expected[case["case"]].items():
            found = case["classes"].get(value, {"dice": None})["dice"]
            assert found == pytest.approx(dice, abs=1e-4) if dice is not None else found is None


def test_a_mask_lies_on_the_grid_of_its_image(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    answer = attnseg("predict", trained, image(cohort, 2), "--out", tmp_path, "--json")

    mask = nib.load(tmp_path / "case_2.nii.gz")
    assert answer.json["cases"][0]["name"] == "case_2"
    assert mask.shape == (22, 18, 12)
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, nib.load(image(cohort, 2)).affine)


def test_probabilities_and_uncertainty_are_written_when_asked_for(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    words = ["--probabilities", "--uncertainty", "--out", tmp_path]

    attnseg("predict", trained, image(cohort, 0), *words)

    assert {one.name for one in tmp_path.iterdir()} == {
        "case_0.nii.gz",
        "case_0_probabilities.nii.gz",
        "case_0_uncertainty.nii.gz",
    }


def test_nothing_is_overwritten_unless_asked_for(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    there = tmp_path / "case_0.nii.gz"
    there.write_bytes(b"mine")

    refused = attnseg("predict", trained, image(cohort, 0), "--out", tmp_path)

    assert refused.status == 1
    assert "--overwrite" in refused.err
    assert there.read_bytes() == b"mine"
    assert attnseg("predict", trained, image(cohort, 0), "-o", tmp_path, "--overwrite").status == 0
    assert there.read_bytes() != b"mine"


def test_equal_names_are_refused_before_anything_is_written(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    twin = tmp_path / "twin" / "case_0_0000.nii.gz"
    twin.parent.mkdir()
    shutil.copy2(image(cohort, 0), twin)

    answer = attnseg("predict", trained, image(cohort, 0), twin, "--out", tmp_path / "out")

    assert answer.status == 1
    assert "case_0" in answer.err
    assert not (tmp_path / "out").exists()


def test_one_bad_input_among_many_does_not_lose_the_others(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"this is no volume")

    answer = attnseg("predict", trained, bad, image(cohort, 1), "--out", tmp_path / "out")

    assert answer.status == 1
    assert "bad" in answer.err
    assert (tmp_path / "out" / "case_1.nii.gz").exists()


def test_a_run_is_found_by_project_and_id(
    project: Path, cohort: Path, attnseg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert attnseg("predict", f"{project}:001", image(cohort, 0), "-o", tmp_path / "a").status == 0
    monkeypatch.chdir(project)
    assert attnseg("predict", "001", image(cohort, 0), "-o", tmp_path / "b").status == 0


def test_a_run_that_is_not_there_is_refused(attnseg: Any, cohort: Path, tmp_path: Path) -> None:
    answer = attnseg("predict", tmp_path / "run", image(cohort, 0), "-o", tmp_path / "out")

    assert answer.status == 1
    assert "There is no run" in answer.err


def test_a_map_and_its_record_are_written(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    words = ["--method", "grad-cam", "--class", "ball", "--layer", "encoder1", "--out", tmp_path]

    answer = attnseg("explain", trained, image(cohort, 0), *words)

    record = json.loads((tmp_path / "case_0_grad-cam_1_encoder1.json").read_text())
    assert answer.status == 0
    assert record["method"] == "grad-cam"
    assert (record["map"] is None) == bool(record["reason"])
    assert (tmp_path / "case_0_grad-cam_1_encoder1.nii.gz").exists() == (record["map"] is not None)


def test_attention_is_recorded(trained: Path, cohort: Path, attnseg: Any, tmp_path: Path) -> None:
    answer = attnseg("explain", trained, image(cohort, 0), "--attention", "--out", tmp_path)

    assert answer.status == 0
    assert (tmp_path / "case_0_attention.json").exists()
    assert list(tmp_path.glob("case_0_attention_*cbam*.nii.gz"))
    assert not list(tmp_path.glob("*cam_1_*"))


def test_the_choices_of_a_run_are_listed(trained: Path, attnseg: Any) -> None:
    choices = attnseg("explain", trained, "--list", "--json").json

    assert next(iter(choices["methods"])) == "layer-cam"
    assert "bottleneck" in [one["name"] for one in choices["layers"]]
    assert choices["classes"] == {"1": "ball", "2": "box"}


def test_an_unknown_class_is_refused_with_the_known_ones(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    answer = attnseg("explain", trained, image(cohort, 0), "--class", "9", "--out", tmp_path)

    assert answer.status == 1
    assert "ball" in answer.err


def test_a_table_of_scores_is_written(cohort: Path, attnseg: Any, tmp_path: Path) -> None:
    labels = cohort / "labelsTr"

    answer = attnseg("evaluate", labels, labels, "--csv", tmp_path / "dice.csv")

    assert answer.status == 0
    assert "1.0000" in answer.out
    assert len((tmp_path / "dice.csv").read_text().splitlines()) == 1 + 6 * 2


def test_info_is_a_list_and_fails_if_one_is_refused(
    cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"this is no volume")

    answer = attnseg("info", image(cohort, 0), bad, "--json")

    assert answer.status == 1
    assert [row["ok"] for row in answer.json] == [True, False]
    assert answer.json[0]["shape"] == [12, 16, 20]


def test_convert_keeps_voxels_and_place(cohort: Path, attnseg: Any, tmp_path: Path) -> None:
    target = tmp_path / "case.nii"

    answer = attnseg("convert", image(cohort, 0), target)

    before, after = nib.load(image(cohort, 0)), nib.load(target)
    assert answer.status == 0
    assert np.array_equal(np.asarray(before.dataobj), np.asarray(after.dataobj))
    assert np.array_equal(before.affine, after.affine)
    assert attnseg("convert", image(cohort, 0), target).status == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_ctrl_c_stops_a_training_and_keeps_it_and_resume_goes_on(
    project: Path, attnseg: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    words = [sys.executable, "-m", "napari_attnseg", "train", str(copy), "--preset", "tiny"]
    child = subprocess.Popen(
        [*words, "--epochs", "200", "--device", "cpu"], stderr=subprocess.DEVNULL
    )
    metrics = copy / "runs" / "002" / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.1)

    os.kill(child.pid, signal.SIGINT)
    status = child.wait(60)

    assert status == 0
    assert json.loads((copy / "runs" / "002" / "result.json").read_text())["state"] == "stopped"
    assert (copy / "runs" / "002" / "resume.pt").exists()


def test_a_finished_run_is_not_resumed(project: Path, attnseg: Any) -> None:
    answer = attnseg("train", project, "--resume", "001")

    assert answer.status == 1
    assert "already ended" in answer.err


def test_learning_from_a_validation_case_is_refused(project: Path, attnseg: Any) -> None:
    cases = attnseg("project", project, "--json").json["cases"]
    kept = next(case["case"] for case in cases if case["set"] == "val")

    answer = attnseg("train", project, "--from", "001", "--learn-from", kept, "--epochs", "1")

    assert answer.status == 1
    assert kept in answer.err


def test_a_pair_that_makes_no_sense_is_refused(project: Path, attnseg: Any) -> None:
    words = ["--attention", "gate", "--site", "encoder", "--epochs", "1"]

    answer = attnseg("train", project, *words)

    assert answer.status == 1
    assert "skip" in answer.err
    assert not (project / "runs" / "002").exists()


def test_the_cluster_needs_its_library(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = ["--out", tmp_path / "out", "--cluster", "tcp://127.0.0.1:1"]

    answer = attnseg("predict", trained, image(cohort, 0), *words)

    assert answer.status == 1
    assert "pip install" in answer.err
