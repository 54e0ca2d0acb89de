"""Label maps hold whole numbers of 0 or more in one channel, however they were stored."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError, as_label_map, looks_like_labels

SHAPE = (5, 7, 9)


def label(values, dtype=np.float32):
    data = np.zeros((1, *SHAPE), dtype)
    data.flat[: len(values)] = values
    return Volume(data, np.eye(4))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 1, 2], "uint8"), ([0, 137, 255], "uint8"), ([530], "uint16"), ([70000], "uint32")],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_floats_become_the_smallest_unsigned_type(values, expected, dtype):
    labels = as_label_map(label(values, dtype), "case.nii")

    assert labels.data.dtype == expected
    assert labels.data.ravel()[: len(values)].tolist() == values


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint64", "int64"])
def test_integers_stay_as_they_are(dtype):
    volume = label([0, 1, 7], dtype)

    assert as_label_map(volume, "case.nii") is volume


@pytest.mark.parametrize(
    ("values", "dtype", "reason"),
    [
        ([np.nan], np.float32, "NaN or infinite values in 1 voxel"),
        ([np.inf, -np.inf], np.float64, "NaN or infinite values in 2 voxels"),
        ([1, 0.5], np.float32, r"fractions such as 0\.5"),
        ([1, -1], np.float32, "negative value -1"),
        ([1, -3], np.int16, "negative value -3"),
        ([1e30], np.float64, "too large for a class"),
    ],
)
def test_what_is_no_label_is_refused_by_name(values, dtype, reason):
    with pytest.raises(VolumeError, match=reason) as caught:
        as_label_map(label(values, dtype), "folder/case.nii.gz")

    assert "'case.nii.gz'" in str(caught.value)


def test_one_hot_channels_become_values():
    values = np.random.default_rng(0).integers(0, 4, SHAPE)
    channels = np.stack([values == value for value in range(4)]).astype(np.float32)

    labels = as_label_map(Volume(channels, np.eye(4)), "case.nii")

    assert labels.data.shape == (1, *SHAPE)
    assert np.array_equal(labels.data[0], values)


def test_channels_that_overlap_are_refused():
    with pytest.raises(VolumeError, match="2 channels that are not one-hot"):
        as_label_map(Volume(np.ones((2, *SHAPE), np.uint8), np.eye(4)), "case.nii")


def test_labels_are_judged_when_read_as_labels_only(save, affine_of):
    data = np.zeros(SHAPE[::-1], np.float32)
    data[2, 3, 4] = np.nan
    path = save(data, affine_of("RAS"))

    assert np.isnan(read_volume(path).data).sum() == 1
    with pytest.raises(VolumeError, match="NaN"):
        read_volume(path, labels=True)


def test_a_label_scaled_by_a_half_is_read_whole(save, affine_of):
    data = np.zeros(SHAPE[::-1], np.uint8)
    data[:4], data[4:6] = 2, 4
    path = save(data, affine_of("RAS"), name="half.nii")
    whole = bytearray(path.read_bytes())
    struct.pack_into("<2f", whole, 112, 0.5, 0.0)
    path.write_bytes(whole)

    labels = read_volume(path, labels=True)

    assert labels.data.dtype == np.uint8
    assert np.array_equal(labels.data[0].transpose(2, 1, 0), data // 2)


def test_a_float_label_is_written_back_as_integers(save, tmp_path, affine_of):
    path = save(np.full(SHAPE[::-1], 3.0, np.float32), affine_of("PIR"))

    labels = read_volume(path, labels=True)
    copy = read_volume(write_volume(tmp_path / "copy.nii.gz", labels))

    assert labels.storage.dtype == "uint8"
    assert copy.storage.dtype == "uint8"
    assert copy.grid.difference(labels.grid) is None


def test_real_labels_are_read_or_refused(shared_data):
    folder = shared_data / "hostile"
    refused = {"label_fractional.nii.gz", "label_negative.nii.gz"}
    for path in sorted([*folder.glob("*label*.nii.gz")]):
        if path.name in refused:
            with pytest.raises(VolumeError, match=path.name):
                read_volume(path, labels=True)
        else:
            assert read_volume(path, labels=True).data.dtype.kind in "iu"


def test_real_labels_look_like_labels_and_real_images_do_not(shared_data):
    hippocampus = shared_data / "hippocampus"
    labels = [*(hippocampus / "labelsTr").glob("*_00*.nii.gz"), *shared_data.glob("cord/*seg*")]
    images = [*(hippocampus / "imagesTr").glob("*_00*.nii.gz"), shared_data / "cord/t2.nii.gz"]
    labels += [shared_data / "totalsegmentator" / "example_seg.nii.gz"]
    images += [shared_data / "totalsegmentator" / "example_ct_sm.nii.gz"]

    assert all(looks_like_labels(read_volume(path)) for path in labels)
    assert not any(looks_like_labels(read_volume(path)) for path in images)


@pytest.mark.parametrize("value", [np.nan, -1, 0.5, 1e6])
def test_a_value_that_no_class_has_does_not_look_like_labels(value):
    assert not looks_like_labels(label([1, 1, 1, value]))


def test_names_in_an_unknown_encoding_are_left_out():
    from napari_attnseg.io.class_names import classes_in, extension_of

    extension = extension_of({1: "liver"}).replace(b"UTF-8", b"UTG-8")

    assert classes_in(extension, "<") == {}
