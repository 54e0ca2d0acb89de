"""A DICOM series becomes a volume with each voxel where its header says, whatever the files."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, generate_uid

from napari_attnseg import read_volume, write_volume
from napari_attnseg.io import SeriesChoiceError, VolumeError, stem

SHAPE = (5, 7, 9)


@pytest.fixture
def stored(voxels):
    return voxels(SHAPE, "int16")


def test_every_voxel_lies_where_the_header_of_its_slice_says(
    tmp_path, write_series, stored, turned, in_ras
):
    lps = write_series(tmp_path / "scan", stored, directions=turned)

    volume = read_volume(tmp_path / "scan")

    assert np.array_equal(volume.data[0], stored)
    assert volume.data.dtype == np.int16
    assert np.allclose(volume.affine, in_ras @ lps, atol=1e-6)
    assert volume.storage.extra["format"] == "DICOM"


def test_slices_are_sorted_by_position_and_not_by_name(tmp_path, write_series, stored):
    names = ["9", "10", "c.dcm", "a", "IM.1.2.3"]
    write_series(tmp_path / "scan", stored, names=names)

    assert np.array_equal(read_volume(tmp_path / "scan").data[0], stored)


def test_slices_given_from_top_to_bottom_make_the_same_volume(tmp_path, write_series, stored):
    write_series(tmp_path / "up", stored)
    places = np.array([(-30.5, 12.25, 140.0 + 2.5 * k) for k in range(5)])
    write_series(tmp_path / "down", stored[::-1], positions=places[::-1])

    up, down = read_volume(tmp_path / "up"), read_volume(tmp_path / "down")

    assert np.array_equal(up.data, down.data)
    assert np.array_equal(up.affine, down.affine)


def test_any_file_of_a_series_stands_for_it(tmp_path, write_series, stored):
    write_series(tmp_path, stored)
    write_series(tmp_path, stored[:, ::-1], names=[f"other{k}.dcm" for k in range(5)])

    first, second = read_volume(tmp_path / "IM0003"), read_volume(tmp_path / "other2.dcm")

    assert np.array_equal(first.data[0], stored)
    assert np.array_equal(second.data[0], stored[:, ::-1])


def test_several_series_are_listed_and_one_is_chosen(tmp_path, write_series, stored):
    write_series(tmp_path / "a", stored, SeriesNumber=3, SeriesDescription="thin")
    write_series(tmp_path / "b", stored[:3], SeriesNumber=2, SeriesDescription="thick")

    with pytest.raises(SeriesChoiceError, match="holds 2 series") as caught:
        read_volume(tmp_path)

    assert caught.value.titles == ("CT 'thick' (3 slices)", "CT 'thin' (5 slices)")
    assert all(title in str(caught.value) for title in caught.value.titles)
    assert read_volume(tmp_path, series=1).shape_dhw == (3, 7, 9)
    assert read_volume(tmp_path, series="thin").shape_dhw == SHAPE
    for unknown in (0, 3, "none"):
        with pytest.raises(SeriesChoiceError, match="choose one"):
            read_volume(tmp_path, series=unknown)


def test_a_series_spread_over_folders_is_one(tmp_path, write_series, stored):
    write_series(tmp_path, stored)
    for k in (1, 3):
        (tmp_path / f"part{k}").mkdir()
        shutil.move(tmp_path / f"IM{k:04d}", tmp_path / f"part{k}" / "x")

    assert np.array_equal(read_volume(tmp_path).data[0], stored)


def test_what_is_no_dicom_in_the_folder_is_left_out(tmp_path, write_series, stored):
    write_series(tmp_path, stored)
    (tmp_path / "readme.txt").write_text("not an image")
    (tmp_path / ".hidden").write_bytes(bytes(128) + b"DICM" + b"damaged")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    assert np.array_equal(read_volume(tmp_path).data[0], stored)


def test_a_dicomdir_stands_for_the_files_that_it_names(tmp_path, write_series, stored):
    write_series(tmp_path / "in", stored, StudyTime="120000", StudyID="1", SeriesNumber=1)
    disc = FileSet()
    for one in sorted((tmp_path / "in").iterdir()):
        disc.add(one)
    disc.write(tmp_path / "disc")

    whole = read_volume(tmp_path / "disc" / "DICOMDIR")

    assert np.array_equal(whole.data[0], stored)
    assert np.array_equal(read_volume(tmp_path / "disc").data[0], stored)
    next(one for one in (tmp_path / "disc").rglob("*") if one.suffix == "" and one.is_file()
         and one.name != "DICOMDIR").unlink()  # fmt: skip
    with pytest.raises(VolumeError, match="1 of the 5 files that 'DICOMDIR' names are missing"):
        read_volume(tmp_path / "disc" / "DICOMDIR")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_stored_types_stay_as_they_are(tmp_path, write_series, voxels, dtype):
    stored = voxels(SHAPE, dtype)
    write_series(tmp_path, stored)

    volume = read_volume(tmp_path)

    assert volume.data.dtype == dtype
    assert np.array_equal(volume.data[0], stored)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_byte_orders_give_the_same_voxels(tmp_path, write_series, stored, syntax):
    def change(dataset, k):
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = stored[k].byteswap().tobytes()

    write_series(tmp_path, stored, change=change)

    assert np.array_equal(read_volume(tmp_path).data[0], stored)


def test_a_ct_is_in_whole_hounsfield_units(tmp_path, write_series, voxels):
    stored = voxels(SHAPE, "uint16") % 4096
    write_series(tmp_path, stored, RescaleSlope=1, RescaleIntercept=-1024)

    volume = read_volume(tmp_path)

    assert volume.data.dtype == np.int16
    assert np.array_equal(volume.data[0], stored.astype(int) - 1024)


def test_values_too_large_for_int16_become_int32(tmp_path, write_series, voxels):
    stored = voxels(SHAPE, "uint16")
    write_series(tmp_path, stored, RescaleSlope=1, RescaleIntercept=-1024)

    volume = read_volume(tmp_path)

    assert volume.data.dtype == np.int32
    assert np.array_equal(volume.data[0], stored.astype(int) - 1024)


def test_each_slice_has_its_own_slope(tmp_path, write_series, stored):
    def change(dataset, k):
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{0.5 + k}", f"{-k}"

    write_series(tmp_path, stored, change=change)

    volume = read_volume(tmp_path)

    expected = [stored[k] * (0.5 + k) - k for k in range(5)]
    assert volume.data.dtype == np.float32
    assert np.allclose(volume.data[0], expected, rtol=1e-6)


def test_bits_that_are_no_part_of_the_value_are_taken_off(tmp_path, write_series, voxels):
    values = voxels(SHAPE, "int16") >> 4  # 12 bits, signed
    overlay = (values & 0x0FFF) | 0x7000

    write_series(tmp_path, overlay.astype(np.int16), BitsStored=12, HighBit=11)

    assert np.array_equal(read_volume(tmp_path).data[0], values)


def test_a_lone_slice_has_its_thickness(tmp_path, write_series, stored):
    write_series(tmp_path, stored[:1])

    assert read_volume(tmp_path).spacing_dhw == (2.5, 1.25, 0.75)


def test_echoes_of_one_place_become_channels(tmp_path, write_series, stored):
    series = generate_uid()
    for echo, time in ((1, "20"), (0, "4.5")):
        names = [f"e{echo}s{k}" for k in range(5)]
        tags = {"SeriesInstanceUID": series, "EchoTime": time}
        write_series(tmp_path, stored + echo, names=names, **tags)

    volume = read_volume(tmp_path)

    assert volume.channels == ("EchoTime 4.5", "EchoTime 20")
    assert np.array_equal(volume.data, [stored, stored + 1])


def test_copies_of_a_file_are_left_out_with_a_warning(tmp_path, write_series, stored):
    write_series(tmp_path, stored)
    shutil.copy(tmp_path / "IM0002", tmp_path / "IM0002 (copy)")

    volume = read_volume(tmp_path)

    assert np.array_equal(volume.data[0], stored)
    assert "1 file is a copy" in volume.storage.extra["warnings"][0]


@pytest.mark.parametrize("slopes", [None, [1.0, 2.0, 0.5, 3.0, 1.5]])
def test_an_enhanced_multi_frame_file_is_a_volume(
    tmp_path, write_enhanced, stored, in_ras, slopes
):
    lps = write_enhanced(tmp_path / "one.dcm", stored, order=[3, 0, 4, 1, 2], slopes=slopes)

    volume = read_volume(tmp_path / "one.dcm")

    expected = stored if slopes is None else stored * np.array(slopes)[:, None, None] - 3.5
    assert np.allclose(volume.data[0], expected, rtol=1e-6)
    assert np.allclose(volume.affine, in_ras @ lps, atol=1e-6)
    assert np.array_equal(read_volume(tmp_path).data, volume.data)


def test_nothing_of_the_patient_is_in_the_volume(tmp_path, write_series, stored, secrets):
    write_series(tmp_path, stored, SeriesDescription="T1")

    volume = read_volume(tmp_path)

    told = repr(volume.storage) + repr(volume.classes) + repr(volume.channels)
    assert not any(secret in told for secret in secrets)


def test_a_series_is_saved_as_nifti_in_the_same_place(tmp_path, write_series, stored, turned):
    write_series(tmp_path / "scan", stored, directions=turned)
    volume = read_volume(tmp_path / "scan")

    saved = read_volume(write_volume(tmp_path / "scan.nii.gz", volume))

    assert np.array_equal(saved.data, volume.data)
    assert np.allclose(saved.affine, volume.affine, atol=1e-5)


def test_a_series_opens_in_itk_at_the_same_place(tmp_path, write_series, stored, turned, in_ras):
    import SimpleITK

    write_series(tmp_path, stored, directions=turned)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    image = SimpleITK.ReadImage(names)

    volume = read_volume(tmp_path)

    assert np.array_equal(volume.data[0], SimpleITK.GetArrayFromImage(image))
    for index in ((0, 0, 0), (8, 6, 4), (3, 1, 2)):
        lps = image.TransformIndexToPhysicalPoint(index)
        ours = volume.grid.world(np.array(index[::-1], float))
        assert np.allclose(ours, (in_ras @ [*lps, 1])[:3], atol=1e-4)


def test_a_slice_is_no_case_of_its_own_but_its_name_has_a_stem():
    from napari_attnseg.io import known_suffix

    assert known_suffix("slice.dcm") is None
    assert stem("slice.dcm") == "slice"


def test_the_header_is_read_without_the_pixels_of_others(tmp_path, write_series, stored):
    write_series(tmp_path, stored)
    dataset = pydicom.dcmread(tmp_path / "IM0000")
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Rows = 60000
    dataset.save_as(tmp_path / "other")

    assert np.array_equal(read_volume(tmp_path / "IM0001").data[0][1:], stored[1:])
