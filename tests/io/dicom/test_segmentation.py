"""Masks go to DICOM segmentations and come back equal; other programs' segmentations are read."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError, describe
from napari_attnseg.volume import GridMismatchError

SHAPE = (6, 7, 9)
highdicom = pytest.importorskip("highdicom", reason="writing segmentations needs dicom-seg")
CLASSES = {1: "left kidney", 4: "tumour", 300: "my own name"}


@pytest.fixture
def series(tmp_path, write_series, voxels, turned):
    write_series(tmp_path / "scan", voxels(SHAPE, "int16"), directions=turned)
    return tmp_path / "scan"


@pytest.fixture
def labels():
    values = np.zeros(SHAPE, np.uint16)
    values[1:3, 2:5, 1:4], values[2:4, 1:6, 5:8], values[4, 0, 0] = 1, 4, 300
    return values


@pytest.fixture
def mask(series, labels):
    return read_volume(series).on_grid(labels, classes=CLASSES)


def made_by_highdicom(folder, pixels, kind="BINARY", names=("one", "two")):
    """Write a segmentation with highdicom alone; pixels are ``(D, H, W)`` or with segments."""
    sources = [pydicom.dcmread(one) for one in sorted(folder.iterdir())]
    described = [
        highdicom.seg.SegmentDescription(at, name, codes.SCT.Organ, codes.SCT.Kidney, "MANUAL")
        for at, name in enumerate(names, start=1)
    ]
    return highdicom.seg.Segmentation(
        sources, pixels, kind, described, highdicom.UID(), 9, highdicom.UID(), 1,
        "maker", "model", "1", "2",
    )  # fmt: skip


def test_a_mask_comes_back_equal_with_its_values_and_names(series, mask, labels):
    path = write_volume(series / "mask.dcm", mask)

    back = read_volume(path, labels=True)

    assert np.array_equal(back.data[0], labels)
    assert back.grid.difference(mask.grid) is None
    assert back.classes == CLASSES


def test_highdicom_reads_the_same_mask(series, mask, labels):
    path = write_volume(series.parent / "mask.dcm", mask)

    found = highdicom.seg.segread(path)

    images = [pydicom.dcmread(one).SOPInstanceUID for one in sorted(series.iterdir())]
    pixels = found.get_pixels_by_source_instance(images, combine_segments=False)
    assert [one.segment_label for one in map(found.get_segment_description, (1, 2, 3))] == [
        "left kidney", "tumour", "my own name",
    ]  # fmt: skip
    for segment, value in enumerate(CLASSES):
        assert np.array_equal(pixels[..., segment], labels == value)


def test_itk_reads_the_same_frames_in_the_same_place(series, mask, labels, in_ras):
    path = write_volume(series.parent / "mask.dcm", mask)

    dataset = pydicom.dcmread(path)

    inverse = np.linalg.inv(mask.affine)
    groups = dataset.PerFrameFunctionalGroupsSequence
    for group, pixels in zip(groups, dataset.pixel_array, strict=True):
        lps = group.PlanePositionSequence[0].ImagePositionPatient
        k = int(np.rint(inverse @ in_ras @ [*lps, 1])[2])
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert np.array_equal(pixels, labels[k] == list(CLASSES)[segment - 1])


def test_segments_have_codes_that_other_programs_know(series, mask):
    dataset = pydicom.dcmread(write_volume(series / "mask.dcm", mask))

    kinds = [one.SegmentedPropertyTypeCodeSequence[0] for one in dataset.SegmentSequence]
    assert [kind.CodeMeaning for kind in kinds[:2]] == ["Kidney", "Neoplasm"]
    assert [kind.CodingSchemeDesignator for kind in kinds] == ["SCT", "SCT", "99ATTNSEG"]
    side = kinds[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeMeaning == "Left"
    category = dataset.SegmentSequence[1].SegmentedPropertyCategoryCodeSequence[0]
    assert "bnormal" in category.CodeMeaning


def test_the_series_and_its_images_are_referred_to(series, mask):
    dataset = pydicom.dcmread(write_volume(series.parent / "mask.dcm", mask))

    source = pydicom.dcmread(series / "IM0000")
    reference = dataset.ReferencedSeriesSequence[0]
    assert reference.SeriesInstanceUID == source.SeriesInstanceUID
    assert len(reference.ReferencedInstanceSequence) == 6
    assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert dataset.StudyInstanceUID == source.StudyInstanceUID
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "LPS"])
def test_a_mask_stored_in_another_order_lands_on_the_same_voxels(
    series, mask, labels, orientation
):
    other = mask.reoriented(orientation)
    nifti = write_volume(series.parent / "mask.nii.gz", other)

    path = write_volume(series / "mask.dcm", read_volume(nifti), source=series)

    assert np.array_equal(read_volume(path).data[0], labels)


def test_a_mask_of_an_enhanced_series_comes_back_equal(tmp_path, write_enhanced, voxels, labels):
    path = tmp_path / "scan" / "one.dcm"
    write_enhanced(path, voxels(SHAPE, "int16"), order=[3, 0, 5, 4, 1, 2])

    mask = read_volume(path).on_grid(labels, classes=CLASSES)
    written = write_volume(tmp_path / "scan" / "mask.dcm", mask)

    assert np.array_equal(read_volume(written).data[0], labels)


def test_without_its_series_beside_it_a_mask_lies_on_its_own_frames(series, mask, labels):
    path = write_volume(series.parent / "alone.dcm", mask)

    back = read_volume(path)

    assert np.array_equal(back.data[0], labels[1:5])
    place = mask.grid.cropped((1, 0, 0), (4, 7, 9))
    assert place.difference(back.grid) is None


def test_gaps_between_frames_are_kept(series, labels):
    labels[2:4] = 0
    mask = read_volume(series).on_grid(labels, classes=CLASSES)

    back = read_volume(write_volume(series.parent / "alone.dcm", mask))

    assert np.array_equal(back.data[0], labels[1:5])


def test_a_class_without_voxels_keeps_its_name(series, labels):
    mask = read_volume(series).on_grid(labels, classes={**CLASSES, 7: "spleen"})

    back = read_volume(write_volume(series / "mask.dcm", mask))

    assert back.classes == {**CLASSES, 7: "spleen"}
    assert np.array_equal(back.data[0], labels)


def test_the_image_is_read_from_a_folder_that_holds_both(series, mask):
    write_volume(series / "mask.dcm", mask)

    assert read_volume(series).data.dtype == np.int16
    assert read_volume(series, series=2).classes == CLASSES


def test_a_segmentation_of_highdicom_is_read(series):
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[1:3, 2:5, 1:4], pixels[3:5, 1:6, 5:8] = 1, 2
    made_by_highdicom(series, pixels).save_as(series / "other")

    back = read_volume(series / "other", labels=True)

    assert np.array_equal(back.data[0], pixels)
    assert back.classes == {1: "one", 2: "two"}


def test_a_segmentation_stored_as_a_label_map_is_read(series):
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[1:3, 2:5, 1:4], pixels[3:5, 1:6, 5:8] = 1, 2
    made_by_highdicom(series, pixels, "LABELMAP").save_as(series / "other")

    back = read_volume(series / "other", labels=True)

    assert np.array_equal(back.data[0], pixels)
    assert back.classes == {1: "one", 2: "two"}


def test_segments_that_overlap_become_channels(series):
    pixels = np.zeros((*SHAPE, 2), np.uint8)
    pixels[1:4, 1:5, 1:6, 0], pixels[2:5, 2:6, 3:8, 1] = 1, 1
    made_by_highdicom(series, pixels).save_as(series / "other")

    back = read_volume(series / "other")

    assert np.array_equal(back.data, np.moveaxis(pixels, -1, 0))
    assert back.channels == ("one", "two")


def test_fractions_are_refused(series):
    pixels = np.zeros((*SHAPE, 1))
    pixels[2, 3, 4] = 0.5
    made_by_highdicom(series, pixels, "FRACTIONAL", ["one"]).save_as(series / "other")

    with pytest.raises(VolumeError, match="holds fractions"):
        read_volume(series / "other")


def test_whole_fractions_are_segments(series):
    pixels = np.zeros((*SHAPE, 1))
    pixels[2, 3, 4] = 1
    made_by_highdicom(series, pixels, "FRACTIONAL", ["one"]).save_as(series / "other")

    assert np.array_equal(read_volume(series / "other").data[0], pixels[..., 0])


def test_a_mask_that_came_from_no_series_is_refused(tmp_path, labels):
    with pytest.raises(VolumeError, match=r"came from none\. Name the series, or save as \.nii"):
        write_volume(tmp_path / "mask.dcm", Volume(labels[None], np.eye(4)))


def test_a_mask_on_another_grid_than_the_series_is_refused(series, labels):
    with pytest.raises(GridMismatchError, match="DICOM series and the mask"):
        write_volume(series / "mask.dcm", Volume(labels[None], np.eye(4)), source=series)


def test_intensities_are_no_segmentation(series):
    with pytest.raises(VolumeError, match="negative value"):
        write_volume(series / "copy.dcm", read_volume(series))


def test_an_empty_mask_without_names_is_refused(series):
    with pytest.raises(VolumeError, match="empty and names no class"):
        write_volume(series / "mask.dcm", read_volume(series).on_grid(np.zeros(SHAPE, np.uint8)))


def test_a_series_without_identifiers_cannot_be_referred_to(tmp_path, write_series, labels):
    def change(dataset, k):
        del dataset.StudyInstanceUID

    write_series(tmp_path / "scan", labels, change=change)
    mask = read_volume(tmp_path / "scan").on_grid(labels)

    with pytest.raises(VolumeError, match="lacks identifiers"):
        write_volume(tmp_path / "mask.dcm", mask)
    assert not (tmp_path / "mask.dcm").exists()


def test_a_segmentation_is_described_with_its_classes(series, mask):
    row = describe(write_volume(series / "mask.dcm", mask))

    assert row["format"] == "DICOM SEG"
    assert row["classes"] == {str(value): name for value, name in CLASSES.items()}


def test_the_patient_goes_from_file_to_file_and_never_into_the_volume(series, mask, secrets):
    path = write_volume(series / "mask.dcm", mask)

    volume = read_volume(path)

    assert pydicom.dcmread(path).PatientID == "SECRET-ID-4711"
    told = repr(volume.storage) + repr(volume.classes)
    assert not any(secret in told for secret in secrets)


def test_a_mask_on_a_real_series_comes_back_equal(shared_data, tmp_path):
    image = read_volume(shared_data / "dicom" / "seg_ct_3slice")
    body = (image.data[0] > -200).astype(np.uint8)

    path = write_volume(tmp_path / "mask.dcm", image.on_grid(body, classes={1: "liver"}))

    back = read_volume(path, labels=True)
    assert np.array_equal(back.data[0], body)
    assert back.grid.difference(image.grid) is None
