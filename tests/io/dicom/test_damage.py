"""Damaged DICOM loads right or is refused with one sentence; nothing else ever happens."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from napari_attnseg import read_volume
from napari_attnseg.io import VolumeError

SHAPE = (5, 7, 9)
MUTATIONS = 250


@pytest.fixture
def stored(voxels):
    return voxels(SHAPE, "int16")


def refusal_of(path):
    try:
        read_volume(path)
    except VolumeError as error:
        return str(error)
    return None


def test_a_slice_cut_off_anywhere_is_noticed(tmp_path, write_series, stored):
    write_series(tmp_path, stored)
    path = tmp_path / "IM0002"
    whole = path.read_bytes()
    for length in range(140, len(whole), 37):
        path.write_bytes(whole[:length])

        told = refusal_of(tmp_path)

        assert told is not None
        assert told.endswith(".")
        assert "\n" not in told


def test_cut_off_pixels_are_counted(tmp_path, write_series, stored):
    write_series(tmp_path, stored)
    path = tmp_path / "IM0002"
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(VolumeError, match=r"'IM0002' is cut off: it holds 116 of 126 bytes"):
        read_volume(tmp_path)


def test_a_damaged_file_of_another_series_is_no_hindrance(tmp_path, write_series, stored):
    write_series(tmp_path, stored)
    (tmp_path / "junk").write_bytes(bytes(128) + b"DICM" + b"\xff" * 300)

    volume = read_volume(tmp_path)

    assert np.array_equal(volume.data[0], stored)
    assert "1 file beside the series cannot be read" in volume.storage.extra["warnings"][0]


def test_a_header_of_a_giant_is_refused_before_memory_is_taken(tmp_path, write_series, stored):
    write_series(tmp_path, stored, Rows=65535, Columns=65535)

    with pytest.raises(VolumeError, match=r"cut off: it holds 126 of 8589672450 bytes"):
        read_volume(tmp_path)


def test_a_slope_of_zero_is_refused(tmp_path, write_series, stored):
    write_series(tmp_path, stored, RescaleSlope=0, RescaleIntercept=5)

    with pytest.raises(VolumeError, match="rescale slope is 0"):
        read_volume(tmp_path)


@pytest.mark.parametrize("seed", range(MUTATIONS // 50))
def test_flipped_bytes_never_end_in_another_error(
    tmp_path, write_series, write_enhanced, stored, secrets, seed
):
    random = np.random.default_rng(seed)
    write_series(tmp_path / "scan", stored)
    write_enhanced(tmp_path / "many" / "one", stored, order=range(5))
    for path in (tmp_path / "scan" / "IM0001", tmp_path / "many" / "one"):
        whole = path.read_bytes()
        for _ in range(25):
            flipped = np.frombuffer(whole, np.uint8).copy()
            at = random.integers(132, len(whole), size=random.integers(1, 6))
            flipped[at] = random.integers(0, 256, size=len(at))
            path.write_bytes(flipped.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("error")

                told = refusal_of(path.parent) or ""

            assert not any(secret in told for secret in secrets)
        path.write_bytes(whole)


def test_every_file_that_pydicom_tests_with_loads_or_is_refused(tmp_path):
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    files = sorted(folder.glob("*.dcm"))
    assert len(files) > 50
    for at, file in enumerate(files):
        alone = tmp_path / str(at) / file.name
        alone.parent.mkdir()
        alone.symlink_to(file)

        told = refusal_of(alone)

        assert told is None or (told.endswith(".") and "\n" not in told)


@pytest.mark.parametrize(
    "name",
    [
        "693_J2KI", "J2K_pixelrep_mismatch", "JPEG2000", "JPEGLSNearLossless_16", "MR_small_RLE",
        "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless", "image_dfl",
        "MR_small_jpeg_ls_lossless", "CT_small",
    ],
)  # fmt: skip
def test_files_of_many_syntaxes_equal_what_pydicom_decodes(name):
    from napari_attnseg.io.dicom.pixels import read_frames

    path = Path(pydicom.__file__).parent / "data" / "test_files" / f"{name}.dcm"
    dataset = pydicom.dcmread(path)
    if "JPEGLS" in name or "jpeg_ls" in name:
        pytest.importorskip("jpeg_ls", reason="pydicom decodes JPEG-LS with the extra dicom-seg")

    assert np.array_equal(read_frames(path)[0], dataset.pixel_array)
