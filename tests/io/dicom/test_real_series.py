"""Real series equal what independent programs made of them."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from napari_attnseg import read_volume
from napari_attnseg.io import VolumeError, describe_all
from napari_attnseg.volume import require_same_grid

TRUTHS = {
    "mr_with_nifti_truth/001": "mr_with_nifti_truth/001_ground_truth",
    "mr_with_nifti_truth/002_non_isotropic": "mr_with_nifti_truth/002_non_isotropic_ground_truth",
    "compressed_jpeg/001": "compressed_jpeg/001_ground_truth",
}


@pytest.mark.parametrize("reoriented", ["", "_reoriented"])
@pytest.mark.parametrize("folder", sorted(TRUTHS))
def test_a_series_equals_its_nifti_truth_in_voxels_and_place(shared_data, folder, reoriented):
    truth = nib.load(shared_data / "dicom" / f"{TRUTHS[folder]}{reoriented}.nii.gz")

    volume = read_volume(shared_data / "dicom" / folder)

    stored_alike = volume.reoriented("".join(nib.aff2axcodes(truth.affine)))
    expected = np.asanyarray(truth.dataobj).T.astype(volume.data.dtype)
    assert np.array_equal(stored_alike.data[0], expected)
    assert np.allclose(stored_alike.affine, truth.affine, atol=1e-5)


def test_a_compressed_ct_and_its_label_stored_the_other_way_lie_on_each_other(shared_data):
    folder = shared_data / "totalsegmentator"
    image = read_volume(folder / "example_ct_dicom")
    label = read_volume(folder / "example_seg_dicom.nii.gz", labels=True)

    assert (image.orientation, label.orientation) == ("LPS", "LAS")
    alike = label.reoriented(image.orientation)
    require_same_grid(image.grid, alike.grid, names=("image", "label"))
    # Organs are soft tissue and bone; a flip or a shift would put them into air.
    assert np.median(image.data[alike.data > 0]) > 0
    assert (image.data[alike.data > 0] > -300).mean() > 0.8


@pytest.mark.parametrize(
    ("name", "shape"), [("hippocampus_mr_1", (32, 51, 35)), ("hippocampus_mr_2", (35, 48, 36))]
)
def test_a_series_in_a_folder_of_a_folder_loads(shared_data, name, shape):
    volume = read_volume(shared_data / "dicom" / name)

    assert volume.shape_dhw == shape
    assert volume.spacing_dhw == (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("gantrytilting", r"tilted by 14\.00 degrees .* 4\.851 mm"),
        ("sliceincrement", r"10\.000 mm between 28\.11 and 38\.11 mm, 5\.000 mm elsewhere"),
    ],
)
def test_an_irregular_series_is_refused_with_the_numbers(shared_data, name, numbers):
    with pytest.raises(VolumeError, match=numbers) as caught:
        read_volume(shared_data / "dicom" / "irregular" / name)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_segmentation_of_a_real_series_equals_its_nrrd(shared_data):
    import SimpleITK

    folder = shared_data / "dicom" / "seg_ct_3slice"
    tables, segments = sorted(folder.rglob("*.nrrd")), sorted(folder.rglob("*liver*.dcm"))
    if not (tables and segments):
        pytest.skip("the segmentation and its NRRD are not beside the series")
    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(tables[0])), "LPS")

    volume = read_volume(segments[0], labels=True).reoriented("LPS")

    assert np.array_equal(volume.data[0], SimpleITK.GetArrayFromImage(image))
    first = volume.grid.world(np.zeros(3)) * [-1, -1, 1]
    assert np.allclose(first, image.GetOrigin(), atol=1e-3)
    assert np.allclose(volume.spacing_dhw[::-1], image.GetSpacing(), atol=1e-4)


def test_every_series_below_a_folder_is_described(shared_data):
    rows = describe_all([shared_data / "dicom"])

    series = {row["path"].split("/dicom/")[1]: row for row in rows if ".nii" not in row["path"]}
    assert len(series) == 8
    assert sorted(name for name, row in series.items() if not row["ok"]) == [
        "irregular/gantrytilting/001",
        "irregular/sliceincrement/001",
    ]
    assert series["seg_ct_3slice"]["format"] == "DICOM"
    json.dumps(rows, allow_nan=False)
