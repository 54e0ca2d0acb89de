"""``attnseg convert`` and ``info`` on files as hospitals have them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.cli import main

SHAPE = (1, 6, 7, 9)
FIELDS = {
    "path", "ok", "reason", "format", "shape", "spacing_mm", "orientation", "affine_ras", "dtype",
    "range", "classes", "warnings",
}  # fmt: skip
AFFINE = np.array([[-0.7, 0, 0, 31], [0, -1.3, 0, 12], [0, 0, 2.9, -40], [0, 0, 0, 1]])


def _write_series(*arguments, **tags):
    place = Path(__file__).parent.parent / "io" / "dicom" / "conftest.py"
    spec = importlib.util.spec_from_file_location("dicom_series_for_cli", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module._write_series(*arguments, **tags)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(-900, 900, SHAPE[1:]).astype(np.int16)


@pytest.fixture
def folder(tmp_path, image):
    _write_series(tmp_path / "scan" / "a", image, SeriesDescription="first", SeriesNumber=1)
    _write_series(tmp_path / "scan" / "b", image + 1, SeriesDescription="second", SeriesNumber=2)
    return tmp_path / "scan"


def run(capsys, *words):
    status = main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.parametrize(
    "suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".hdr", ".nhdr", ".ome.zarr"]
)
def test_a_volume_is_converted_voxel_for_voxel(tmp_path, image, capsys, suffix):
    if suffix == ".ome.zarr":
        pytest.importorskip("zarr", reason="the extra large is not installed")
    source = write_volume(tmp_path / "a.nii.gz", Volume(image[None], AFFINE))

    status, out, _ = run(capsys, "convert", source, tmp_path / f"b{suffix}")

    back = read_volume(tmp_path / f"b{suffix}")
    assert status == 0
    assert out == f"{source} -> {tmp_path / f'b{suffix}'}\n"
    assert np.array_equal(back.data[0], image)
    assert np.allclose(back.affine, AFFINE, atol=1e-6)


def test_several_series_are_listed_and_one_is_chosen(tmp_path, folder, image, capsys):
    status, _, err = run(capsys, "convert", folder, tmp_path / "x.nii.gz")
    assert status == 1
    assert "1: CT 'first' (6 slices); 2: CT 'second' (6 slices)" in err
    assert "--series 1" in err

    for choice in ("2", "second"):
        status, _, _ = run(
            capsys, "convert", folder, tmp_path / "x.nii.gz", "--series", choice, "--overwrite"
        )
        assert status == 0
        assert np.array_equal(read_volume(tmp_path / "x.nii.gz").data[0], image + 1)


def test_a_gap_is_refused_with_the_remedy_that_then_works(tmp_path, image, capsys):
    heights = [0, 2.5, 5, 7.5, 15, 17.5]
    _write_series(tmp_path / "scan", image, positions=np.array([(0, 0, mm) for mm in heights]))

    status, _, err = run(capsys, "convert", tmp_path / "scan", tmp_path / "x.nii")
    assert status == 1
    assert "(--remedy longest-run)" in err

    status, _, err = run(
        capsys, "convert", tmp_path / "scan", tmp_path / "x.nii", "--remedy", "longest-run"
    )
    assert status == 0
    assert "Only the longest run" in err
    assert read_volume(tmp_path / "x.nii").data.shape == (1, 4, 7, 9)


def test_a_remedy_that_does_not_exist_is_wrong_usage(tmp_path, capsys):
    status, _, err = run(capsys, "convert", "a", "b", "--remedy", "guess")

    assert status == 2
    assert "longest-run" in err


def test_a_mask_becomes_a_segmentation_of_the_series_that_is_named(tmp_path, image, capsys):
    pytest.importorskip("highdicom", reason="the extra dicom-seg is not installed")
    _write_series(tmp_path / "scan", image)
    labels = (image > 500).astype(np.uint8) * 3
    mask = write_volume(tmp_path / "m.nii.gz", read_volume(tmp_path / "scan").on_grid(labels))

    status, _, err = run(capsys, "convert", mask, tmp_path / "seg.dcm")
    assert status == 1
    assert "refers to the DICOM series" in err

    status, _, _ = run(
        capsys, "convert", mask, tmp_path / "scan" / "seg.dcm", "--source", tmp_path / "scan"
    )
    assert status == 0
    assert np.array_equal(read_volume(tmp_path / "scan" / "seg.dcm").data[0], labels)


def test_labels_stored_as_floats_become_whole_or_are_refused(tmp_path, image, capsys):
    whole = Volume((image[None] > 0).astype(np.float32) * 7, AFFINE)
    source = write_volume(tmp_path / "a.nii", whole)
    broken = write_volume(tmp_path / "b.nii", whole.replace(data=whole.data + 0.5))

    assert run(capsys, "convert", source, tmp_path / "c.nii", "--labels")[0] == 0
    status, _, err = run(capsys, "convert", broken, tmp_path / "d.nii", "--labels")

    assert read_volume(tmp_path / "c.nii").data.dtype == np.uint8
    assert status == 1
    assert "holds fractions such as" in err


def test_nothing_is_overwritten_unless_asked(tmp_path, image, capsys):
    source = write_volume(tmp_path / "a.nii", Volume(image[None], AFFINE))
    (tmp_path / "b.nii").write_text("mine")

    status, _, err = run(capsys, "convert", source, tmp_path / "b.nii")

    assert status == 1
    assert "--overwrite" in err
    assert (tmp_path / "b.nii").read_text() == "mine"


@pytest.mark.parametrize(
    ("dtype", "suffix", "other"),
    [("int64", ".gipl", ".nii.gz"), ("int16", ".png", ".nii.gz"), ("int16", ".seg.nrrd", ".nrrd")],
)
def test_what_a_format_cannot_hold_is_refused_with_one_that_can(
    tmp_path, image, capsys, dtype, suffix, other
):
    source = write_volume(tmp_path / "a.nii", Volume(image[None].astype(dtype), AFFINE))

    status, _, err = run(capsys, "convert", source, tmp_path / f"b{suffix}")

    assert status == 1
    assert other in err
    assert not (tmp_path / f"b{suffix}").exists()


def test_info_has_a_row_for_each_file_and_each_series(tmp_path, folder, image, capsys):
    volume = write_volume(tmp_path / "a.nii", Volume(image[None], AFFINE))
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no volume")

    status, out, err = run(capsys, "info", volume, broken, folder, "--json")

    rows = json.loads(out)
    assert status == 1
    assert all(set(row) == FIELDS for row in rows)
    assert [row["ok"] for row in rows] == [True, False, True, True]
    assert [Path(row["path"]).name for row in rows] == ["a.nii", "broken.nii.gz", "a", "b"]
    assert rows[0]["shape"] == [6, 7, 9]
    assert rows[0]["spacing_mm"] == [2.9, 1.3, 0.7]
    assert rows[0]["orientation"] == "LPS"
    assert rows[0]["dtype"] == "int16"
    assert rows[0]["range"] == [int(image.min()), int(image.max())]
    assert np.allclose(rows[0]["affine_ras"], AFFINE, atol=1e-6)
    assert "broken.nii.gz" in rows[1]["reason"]
    assert "broken.nii.gz is refused" in err
