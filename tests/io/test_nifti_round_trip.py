"""What is read and written back is the same file to nibabel, and at the same place to ITK."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.volume import Grid

SHAPE_IJK = (9, 7, 5)
TURNS = ("straight", "oblique", "steep")
ORIENTATIONS = sorted(
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
)
TYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
)  # fmt: skip

every_order = pytest.mark.parametrize("orientation", ORIENTATIONS)
every_turn = pytest.mark.parametrize("turn", TURNS)
every_suffix = pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])


def assert_same_file(first, second):
    one, two = nib.load(first), nib.load(second)
    assert one.shape == two.shape
    assert one.get_data_dtype() == two.get_data_dtype()
    assert np.array_equal(np.asanyarray(one.dataobj), np.asanyarray(two.dataobj), equal_nan=True)
    assert np.array_equal(one.affine, two.affine)
    for form in ("qform", "sform"):
        before, after = (getattr(image, f"get_{form}")(coded=True) for image in (one, two))
        assert before[1] == after[1]
        assert (before[0] is None) == (after[0] is None)
        assert before[0] is None or np.array_equal(before[0], after[0])
    assert one.header["xyzt_units"] == two.header["xyzt_units"]


def itk_place(path):
    """Return ITK's affine, turned from LPS to RAS."""
    image = SimpleITK.ReadImage(str(path))
    linear = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine = np.eye(4)
    affine[:3] = np.c_[linear, image.GetOrigin()]
    return np.diag([-1, -1, 1, 1]) @ affine


@every_order
@every_turn
def test_every_storage_order_comes_back(save, tmp_path, orientation, turn, voxels, affine_of):
    dtype = TYPES[ORIENTATIONS.index(orientation) % len(TYPES)]
    path = save(voxels(SHAPE_IJK, dtype), affine_of(orientation, turn))

    copy = write_volume(tmp_path / "copy.nii.gz", read_volume(path))

    assert_same_file(path, copy)


@every_order
@every_turn
def test_every_storage_order_is_read_as_nibabel_reads_it(
    save, orientation, turn, voxels, affine_of
):
    data = voxels(SHAPE_IJK, "int16")
    path = save(data, affine_of(orientation, turn))

    volume = read_volume(path)

    assert volume.orientation == "".join(nib.aff2axcodes(nib.load(path).affine))
    assert np.array_equal(volume.affine, nib.load(path).affine)
    assert np.array_equal(volume.data[0].transpose(2, 1, 0), data)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 5), (9, 7, 5, 1), (9, 7, 5, 3)])
@every_suffix
def test_every_type_and_number_of_axes_comes_back(
    save, tmp_path, dtype, shape, suffix, voxels, affine_of
):
    path = save(voxels(shape, dtype), affine_of("PIR", "oblique"), name=f"case{suffix}")

    volume = read_volume(path)
    copy = write_volume(tmp_path / f"copy{suffix}", volume)

    assert volume.data.dtype == dtype
    assert_same_file(path, copy)


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (1, 2), (2, 1), (3, 4), (4, 3)])
@every_turn
def test_forms_that_differ_come_back_both(save, tmp_path, codes, turn, voxels, affine_of):
    shifted = affine_of("LPS", turn)
    shifted[:3, 3] += (10, -5, 3)
    path = save(voxels(SHAPE_IJK, "float32"), affine_of("LPS", turn), shifted, codes=codes)

    copy = write_volume(tmp_path / "copy.nii.gz", read_volume(path))

    assert_same_file(path, copy)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 5), (9, 7, 5, 1, 1)])
def test_both_versions_come_back(save, tmp_path, version, shape, voxels, affine_of):
    path = save(voxels(shape, "int32"), affine_of("SAL", "steep"), version=version)

    copy = write_volume(tmp_path / "copy.nii.gz", read_volume(path))

    assert nib.load(copy).header["sizeof_hdr"] == (348 if version == 1 else 540)
    assert_same_file(path, copy)


def test_a_sheared_affine_comes_back(save, tmp_path, voxels, affine_of):
    affine = affine_of("RAS")
    affine[0, 1] = 0.3
    path = save(voxels(SHAPE_IJK, "uint8"), affine, affine_of("RAS"), codes=(0, 2))

    copy = write_volume(tmp_path / "copy.nii.gz", read_volume(path))

    assert_same_file(path, copy)


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_other_units_are_read_as_mm_and_come_back(save, tmp_path, unit, voxels, affine_of):
    path = save(voxels(SHAPE_IJK, "uint8"), affine_of("RAS"))
    image = nib.load(path)
    image.header.set_xyzt_units(unit)
    nib.save(image, path.with_name("other.nii"))

    volume = read_volume(path.with_name("other.nii"))
    copy = write_volume(tmp_path / "copy.nii", volume)

    factor = 1000 if unit == "meter" else 0.001
    assert np.allclose(volume.affine[:3], affine_of("RAS")[:3] * factor)
    assert_same_file(path.with_name("other.nii"), copy)


@every_order
@every_turn
def test_a_mask_on_an_image_lies_where_the_image_lies(
    save, tmp_path, orientation, turn, voxels, affine_of
):
    path = save(voxels(SHAPE_IJK, "int16"), affine_of(orientation, turn))
    image = read_volume(path)

    mask = write_volume(
        tmp_path / "mask.nii.gz", image.on_grid(np.ones(image.shape_dhw, np.uint8))
    )

    assert np.array_equal(nib.load(mask).affine, nib.load(path).affine)
    assert np.array_equal(itk_place(mask), itk_place(path))


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (1, 2)])
def test_a_mask_follows_both_forms_of_an_image_that_disagree(
    save, tmp_path, codes, voxels, affine_of
):
    shifted = affine_of("LPS", "oblique")
    shifted[:3, 3] += (10, -5, 3)
    path = save(voxels(SHAPE_IJK, "int16"), affine_of("LPS", "oblique"), shifted, codes=codes)
    image = read_volume(path)

    mask = write_volume(
        tmp_path / "mask.nii.gz", image.on_grid(np.ones(image.shape_dhw, np.uint8))
    )

    assert np.array_equal(nib.load(mask).affine, nib.load(path).affine)
    assert np.array_equal(itk_place(mask), itk_place(path))


def test_a_mask_on_real_images_lies_where_the_image_lies(shared_data, tmp_path):
    cord, spleen = shared_data / "cord", shared_data / "spleen"
    for path in (cord / "t2.nii.gz", cord / "t2s.nii.gz", *spleen.rglob("*_ct.nii.gz")):
        image = read_volume(path)

        mask = write_volume(
            tmp_path / path.name, image.on_grid(np.ones(image.shape_dhw, np.uint8))
        )

        assert np.array_equal(nib.load(mask).affine, nib.load(path).affine)
        assert np.array_equal(itk_place(mask), itk_place(path))


def test_a_mask_on_hostile_images_lies_where_the_image_lies(shared_data, tmp_path):
    names = ("image_2d.nii.gz", "image_one_slice.nii.gz", "image_4d_trailing1.nii.gz")
    names += ("no_qform_no_sform.nii", "qform_sform_disagree.nii.gz", "oblique_aniso_image.nii.gz")
    for name in (*names, "same_world_flipped_storage.nii.gz", "bigendian_header.nii.gz"):
        path = shared_data / "hostile" / name
        image = read_volume(path)

        mask = write_volume(tmp_path / name, image.on_grid(np.ones(image.shape_dhw, np.uint8)))

        assert np.array_equal(nib.load(mask).affine, nib.load(path).affine)
        first, second = (SimpleITK.ReadImage(str(one)) for one in (mask, path))
        for fact in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
            assert getattr(first, fact)() == getattr(second, fact)()


@every_order
@every_turn
def test_a_volume_made_in_memory_is_placed_alike_by_both_forms(
    tmp_path, orientation, turn, voxels, affine_of
):
    volume = Volume(voxels((1, 5, 7, 9), "float32"), affine_of(orientation, turn))

    path = write_volume(tmp_path / "new.nii.gz", volume)

    image = nib.load(path)
    assert image.header["qform_code"] == image.header["sform_code"] == 1
    assert np.allclose(image.get_sform(), volume.affine, atol=1e-4)
    assert np.allclose(image.get_qform(), volume.affine, atol=1e-3)
    assert np.allclose(itk_place(path), volume.affine, atol=1e-3)
    assert image.shape == SHAPE_IJK
    assert np.array_equal(np.asanyarray(image.dataobj).transpose(2, 1, 0), volume.data[0])


def test_a_large_volume_near_a_half_turn_is_written_without_a_loose_qform(tmp_path, affine_of):
    volume = Volume(np.zeros((1, 2, 3, 600), np.uint8), affine_of("LAI", "steep"))

    path = write_volume(tmp_path / "new.nii.gz", volume)

    for affine in (nib.load(path).affine, itk_place(path)):
        assert volume.grid.difference(Grid(volume.shape_dhw, affine)) is None


def test_a_sheared_volume_made_in_memory_has_an_sform_only(tmp_path, voxels, affine_of):
    affine = affine_of("RAS")
    affine[0, 1] = 0.3

    path = write_volume(tmp_path / "new.nii", Volume(voxels((1, 5, 7, 9), "uint8"), affine))

    assert nib.load(path).header["qform_code"] == 0
    assert np.allclose(nib.load(path).affine, affine)


def test_a_volume_moved_since_it_was_read_is_written_where_it_is_now(
    save, tmp_path, voxels, affine_of
):
    path = save(voxels(SHAPE_IJK, "uint8"), affine_of("RAS"), codes=(1, 4))
    moved = affine_of("RAS", "oblique")

    copy = write_volume(tmp_path / "copy.nii", read_volume(path).replace(affine=moved))

    assert np.allclose(nib.load(copy).affine, moved, atol=1e-4)
    assert nib.load(copy).header["sform_code"] == 4


def test_channels_come_back_in_their_order(save, voxels, affine_of):
    data = voxels((9, 7, 5, 3), "int16")
    path = save(data, affine_of("RAS"))

    volume = read_volume(path)

    assert volume.data.shape == (3, 5, 7, 9)
    assert np.array_equal(volume.data.transpose(3, 2, 1, 0), data)


def test_an_axis_too_long_for_the_first_version_is_written_in_the_second(tmp_path):
    volume = Volume(np.zeros((1, 1, 2, 40000), np.uint8), np.eye(4))

    path = write_volume(tmp_path / "long.nii.gz", volume)

    assert nib.load(path).shape == (40000, 2, 1)
    assert isinstance(nib.load(path), nib.Nifti2Image)


def test_class_names_come_back_and_other_programs_still_read_the_mask(tmp_path, affine_of):
    names = {1: "left kidney", 2: "tumour & cyst ]]> <b>", 300: "Rückenmark"}
    data = np.arange(315, dtype=np.uint16).reshape(1, 5, 7, 9)

    path = write_volume(tmp_path / "mask.nii.gz", Volume(data, affine_of("LPS"), classes=names))

    assert read_volume(path).classes[1] == "left kidney"
    assert read_volume(path).classes[300] == "Rückenmark"
    assert sorted(read_volume(path).classes) == [1, 2, 300]
    assert np.array_equal(np.asanyarray(nib.load(path).dataobj).transpose(2, 1, 0), data[0])
    assert np.allclose(itk_place(path), affine_of("LPS"), atol=1e-4)


def test_class_names_of_another_program_are_read(shared_data):
    volume = read_volume(shared_data / "totalsegmentator" / "example_seg.nii.gz", labels=True)

    assert volume.classes[1] == "spleen"
    assert volume.classes[5] == "liver"


@pytest.mark.parametrize(
    ("dtype", "held"), [("bool", "uint8"), ("float16", "float32"), (">i2", "int16")]
)
def test_types_nifti_has_not_are_widened(tmp_path, dtype, held):
    data = np.ones((1, 5, 7, 9), dtype)

    path = write_volume(tmp_path / "new.nii", Volume(data, np.eye(4)))

    assert nib.load(path).get_data_dtype() == held
    assert (np.asanyarray(nib.load(path).dataobj) == 1).all()


def test_a_view_is_written_as_it_looks(tmp_path, voxels, affine_of):
    volume = Volume(voxels((2, 5, 7, 9), "int16"), affine_of("RAS")).reoriented("PIL")

    path = write_volume(tmp_path / "view.nii.gz", volume)

    assert np.array_equal(read_volume(path).data, volume.data)
