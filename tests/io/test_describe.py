"""One row says what a file is, or why it is refused."""

from __future__ import annotations

import json

import numpy as np

from napari_attnseg import Volume, write_volume
from napari_attnseg.io import describe, describe_all, known_suffix, stem

ROW = [
    "path", "ok", "reason", "format", "shape", "spacing_mm", "orientation", "affine_ras", "dtype",
    "range", "classes", "warnings",
]  # fmt: skip


def test_an_image_is_described(save, affine_of):
    data = np.arange(315, dtype=np.int16).reshape(9, 7, 5)
    path = save(data, affine_of("PIR"))

    row = describe(path)

    assert list(row) == ROW
    assert row["ok"] is True
    assert row["format"] == "NIfTI-1"
    assert row["shape"] == [5, 7, 9]
    assert row["spacing_mm"] == [2.9, 1.3, 0.7]
    assert row["orientation"] == "PIR"
    assert np.allclose(row["affine_ras"], affine_of("PIR"))
    assert row["dtype"] == "int16"
    assert row["range"] == [0, 314]
    assert row["classes"] == {}
    assert row["warnings"] == []


def test_channels_lead_the_shape(save, voxels, affine_of):
    path = save(voxels((9, 7, 5, 2), "int16"), affine_of("RAS"))

    assert describe(path)["shape"] == [2, 5, 7, 9]


def test_a_mask_is_described_with_its_classes(tmp_path):
    data = np.zeros((1, 5, 7, 9), np.uint8)
    data[0, 1:3], data[0, 3:] = 1, 7
    mask = Volume(data, np.eye(4), classes={1: "spleen"})

    row = describe(write_volume(tmp_path / "mask.nii.gz", mask))

    assert row["classes"] == {"1": "spleen", "7": "class 7"}


def test_a_refused_file_says_why(tmp_path):
    (tmp_path / "bad.nii").write_bytes(b"no volume")

    row = describe(tmp_path / "bad.nii")

    assert list(row) == ROW
    assert row["ok"] is False
    assert "not a NIfTI" in row["reason"]
    assert row["shape"] is None


def test_nan_is_counted_and_never_in_the_row(save, affine_of):
    data = np.ones((9, 7, 5), np.float32)
    data[0, 0, :2] = np.nan, np.inf

    row = describe(save(data, affine_of("RAS")))

    assert row["range"] == [1.0, 1.0]
    assert "2 of 315 voxels are NaN or infinite." in row["warnings"]
    json.dumps(row, allow_nan=False)


def test_voxels_all_nan_have_no_range(save, affine_of):
    row = describe(save(np.full((9, 7, 5), np.nan, np.float32), affine_of("RAS")))

    assert row["range"] is None
    json.dumps(row, allow_nan=False)


def test_a_folder_stands_for_its_volumes(save, voxels, affine_of, tmp_path):
    first = save(voxels((9, 7, 5), "int16"), affine_of("RAS"))
    (tmp_path / ".hidden.nii.gz").write_bytes(b"")
    (tmp_path / "empty").mkdir()

    rows = describe_all([tmp_path, tmp_path / "empty", first])

    assert [row["ok"] for row in rows] == [True, False, True]
    assert "no volume in the folder" in rows[1]["reason"]


def test_every_real_file_is_described_as_json(shared_data):
    for row in describe_all([shared_data / "hostile", shared_data / "cord"]):
        assert list(row) == ROW
        assert row["ok"] == (row["reason"] is None)
        json.dumps(row, allow_nan=False)


def test_a_stem_drops_known_endings_and_the_first_channel_of_nnunet():
    assert stem("a/b/case_007.nii.gz") == "case_007"
    assert stem("case_007_0000.nii") == "case_007"
    assert stem("Case.7.NII.GZ") == "Case.7"
    assert stem("BRATS_0001.nii.gz") == "BRATS_0001"
    assert stem("scan.v2.txt") == "scan.v2.txt"
    assert stem("_0000.nii") == "_0000"


def test_suffixes_are_known_whatever_their_case():
    assert known_suffix("A.NII.GZ") == ".nii.gz"
    assert known_suffix("a.nii") == ".nii"
    assert known_suffix("a.gz") is None
