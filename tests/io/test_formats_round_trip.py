"""Every format keeps voxels, type and place, as ITK reads them; what it cannot hold is refused."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError
from napari_attnseg.volume import Storage

TYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
)  # fmt: skip
GIPL_TYPES = ("uint8", "int8", "uint16", "int16", "float32", "float64")
ORIENTATIONS = sorted(
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
)
TURNS = ("straight", "oblique", "steep")
FORMATS = (".nrrd", ".nhdr", ".mha", ".mhd", ".hdr")
SHAPES = {"3-D": (1, 5, 7, 9), "one slice": (1, 1, 7, 9), "4-D": (3, 5, 7, 9)}
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def seen_by_itk(path):
    """Return ITK's voxels, ``(C, D, H, W)``, and its affine turned to RAS."""
    image = SimpleITK.ReadImage(str(path))
    count = image.GetDimension()
    data = SimpleITK.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        data = np.moveaxis(data, -1, 0)
    elif count < 4:
        data = data[None]
    if count == 2:
        data = data[:, None]
    direction = np.array(image.GetDirection()).reshape(count, count)
    spatial = min(count, 3)
    affine = np.eye(4)
    affine[:spatial, :spatial] = (direction * image.GetSpacing())[:spatial, :spatial]
    affine[:spatial, 3] = image.GetOrigin()[:spatial]
    return data, TO_LPS @ affine


def assert_same(volume, data, affine, *, tolerance=1e-9):
    assert volume.data.dtype == data.dtype
    assert np.array_equal(volume.data, data, equal_nan=True)
    assert np.allclose(volume.affine, affine, rtol=0, atol=tolerance)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_storage_order_is_written_as_itk_reads_it_and_comes_back(
    suffix, orientation, tmp_path, affine_of, voxels
):
    at = ORIENTATIONS.index(orientation)
    dtype = TYPES[at % len(TYPES)]
    affine = affine_of(orientation, TURNS[at % 3] if suffix != ".hdr" else "straight")
    data = voxels(SHAPES["3-D"], dtype)
    tolerance = 1e-9 if suffix != ".hdr" else 1e-5

    path = write_volume(tmp_path / f"case{suffix}", Volume(data, affine))

    volume = read_volume(path)
    assert_same(volume, data, affine, tolerance=tolerance)
    told, placed = seen_by_itk(path)
    assert np.array_equal(told, data)
    assert np.allclose(placed, affine, atol=1e-5)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_and_number_of_axes_comes_back_twice(
    suffix, shape, dtype, tmp_path, affine_of, voxels
):
    data = voxels(SHAPES[shape], dtype)
    affine = affine_of("PIR")

    first = read_volume(write_volume(tmp_path / f"first{suffix}", Volume(data, affine)))
    second = read_volume(write_volume(tmp_path / f"second{suffix}", first))

    assert_same(second, data, affine, tolerance=1e-5 if suffix == ".hdr" else 1e-9)
    assert np.array_equal(second.affine, first.affine)
    assert second.storage.dtype == dtype
    assert second.storage.ndim == first.storage.ndim


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(7, 9), (5, 7, 9), (3, 5, 7, 9)])
@pytest.mark.parametrize("is_packed", [False, True])
def test_what_itk_writes_is_read_as_it_stood_and_written_as_it_was(
    suffix, dtype, shape, is_packed, tmp_path, voxels
):
    image = SimpleITK.GetImageFromArray(voxels(shape, dtype), isVector=False)
    count = len(shape)
    turn = np.eye(count)
    turn[:2, :2] = ((0.6, -0.8), (0.8, 0.6))
    image.SetDirection(turn.ravel().tolist())
    image.SetSpacing((0.7, 1.3, 2.9, 1.0)[:count])
    image.SetOrigin((-31.5, 12.25, 140.1, 0.0)[:count])
    path = tmp_path / f"itk{suffix}"
    SimpleITK.WriteImage(image, str(path), is_packed)
    expected, affine = seen_by_itk(path)

    volume = read_volume(path)
    copy = write_volume(tmp_path / f"copy{suffix}", volume)

    assert_same(volume, expected, affine)
    again, placed = seen_by_itk(copy)
    assert np.array_equal(again.reshape(expected.shape), expected)
    assert np.allclose(placed, affine, atol=1e-9)
    assert np.array_equal(read_volume(copy).affine, volume.affine)
    assert read_volume(copy).storage.ndim == volume.storage.ndim == count


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", TYPES)
def test_vectors_of_itk_are_channels(suffix, dtype, tmp_path, voxels):
    image = SimpleITK.GetImageFromArray(voxels((5, 7, 9, 3), dtype), isVector=True)
    image.SetSpacing((0.7, 1.3, 2.9))
    path = tmp_path / f"itk{suffix}"
    SimpleITK.WriteImage(image, str(path))

    volume = read_volume(path)

    assert volume.data.shape == (3, 5, 7, 9)
    assert_same(volume, *seen_by_itk(path))
    copy = write_volume(tmp_path / f"copy{suffix}", volume)
    assert np.array_equal(seen_by_itk(copy)[0], volume.data)


@pytest.mark.parametrize("suffix", [".gipl", ".gipl.gz"])
@pytest.mark.parametrize("dtype", GIPL_TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gipl_holds_small_types_without_directions(
    suffix, dtype, shape, tmp_path, affine_of, voxels
):
    data, affine = voxels(SHAPES[shape], dtype), affine_of("LPS")

    volume = read_volume(write_volume(tmp_path / f"a{suffix}", Volume(data, affine)))
    copy = write_volume(tmp_path / f"b{suffix}", volume)

    assert_same(volume, data, affine, tolerance=1e-6)
    assert np.array_equal(read_volume(copy).affine, volume.affine)
    if shape != "4-D" and suffix == ".gipl":
        told, placed = seen_by_itk(copy)
        assert np.array_equal(told, data)
        assert np.allclose(placed, affine, atol=1e-6)


@pytest.mark.parametrize("dtype", GIPL_TYPES)
@pytest.mark.parametrize("shape", [(7, 9), (5, 7, 9)])
def test_gipl_of_itk_is_read_as_itk_reads_it(dtype, shape, tmp_path, voxels):
    image = SimpleITK.GetImageFromArray(voxels(shape, dtype))
    image.SetSpacing((0.5, 1.5, 2.75)[: len(shape)])
    image.SetOrigin((-31.5, 12.25, 140.1)[: len(shape)])
    path = tmp_path / "itk.gipl"
    SimpleITK.WriteImage(image, str(path))

    assert_same(read_volume(path), *seen_by_itk(path))


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_gipl_refuses_large_integers_and_names_what_holds_them(dtype, tmp_path, affine_of):
    volume = Volume(np.ones((1, 5, 7, 9), dtype), affine_of("LPS"))

    with pytest.raises(VolumeError, match=rf"case.gipl.*{dtype}.*\.nii\.gz.*\."):
        write_volume(tmp_path / "case.gipl", volume)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("orientation", [one for one in ORIENTATIONS if one != "LPS"])
def test_gipl_refuses_every_other_direction(orientation, tmp_path, affine_of):
    volume = Volume(np.ones((1, 5, 7, 9), np.uint8), affine_of(orientation))

    with pytest.raises(VolumeError, match=rf"no directions.*{orientation}.*\.nii\.gz"):
        write_volume(tmp_path / "case.gipl", volume)


@pytest.mark.parametrize(
    ("first", "second"),
    list(itertools.permutations([".nii.gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd"], 2)),
)
def test_every_format_becomes_every_other(first, second, tmp_path, affine_of, voxels):
    data, affine = voxels((3, 5, 7, 9), "int16"), affine_of("SAL")

    one = read_volume(write_volume(tmp_path / f"one{first}", Volume(data, affine)))
    two = read_volume(write_volume(tmp_path / f"two{second}", one))

    assert_same(two, data, affine, tolerance=1e-5)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".hdr"])
@pytest.mark.parametrize("dtype", ["bool", "float16"])
def test_types_of_numpy_alone_are_widened(suffix, dtype, tmp_path, affine_of):
    data = np.random.default_rng(0).integers(0, 2, (1, 5, 7, 9)).astype(dtype)

    path = write_volume(tmp_path / f"case{suffix}", Volume(data, affine_of("LPS")))

    assert read_volume(path).data.dtype == ("uint8" if dtype == "bool" else "float32")
    assert np.array_equal(read_volume(path).data, data)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".hdr"])
def test_nan_and_infinity_stay(suffix, tmp_path, affine_of):
    data = np.full((1, 5, 7, 9), np.nan, np.float32)
    data[0, 0, 0, :3] = (np.inf, -np.inf, 1)

    path = write_volume(tmp_path / f"case{suffix}", Volume(data, affine_of("LPS")))

    assert np.array_equal(read_volume(path).data, data, equal_nan=True)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "zlib"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_encoding_and_byte_order_stay(suffix, encoding, endian, tmp_path, affine_of, voxels):
    kind = "nrrd" if suffix == ".nrrd" else "metaimage"
    if encoding == {"nrrd": "zlib", "metaimage": "bzip2"}[kind]:
        pytest.skip(f"{kind} has no {encoding}")
    extra = {"encoding": encoding, "endian": endian, "placing": {}}
    storage = Storage(format=kind, extra=extra)
    data = voxels((1, 5, 7, 9), "int32")

    path = write_volume(tmp_path / f"case{suffix}", Volume(data, affine_of("ASL"), storage))

    volume = read_volume(path)
    assert np.array_equal(volume.data, data)
    assert volume.data.dtype.isnative
    assert (volume.storage.extra["encoding"], volume.storage.extra["endian"]) == (encoding, endian)
    if encoding != "bzip2":
        assert np.array_equal(seen_by_itk(path)[0], data)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("suffix", [".hdr", ".hdr.gz"])
@pytest.mark.parametrize("dtype", TYPES)
def test_pairs_of_nibabel_are_read_by_either_half(
    version, suffix, dtype, tmp_path, affine_of, voxels
):
    kind = nib.Nifti1Pair if version == 1 else nib.Nifti2Pair
    data = voxels((9, 7, 5), dtype)
    path = tmp_path / f"case{suffix}"
    nib.save(kind(data, affine_of("SAL", "oblique"), dtype=dtype), path)
    image = nib.load(path)

    for half in (path, tmp_path / f"case{suffix.replace('hdr', 'img')}"):
        volume = read_volume(half)

        assert np.array_equal(volume.data[0].T, np.asanyarray(image.dataobj))
        assert np.array_equal(volume.affine, image.affine)


@pytest.mark.parametrize("suffix", [".hdr", ".img", ".hdr.gz", ".img.gz"])
def test_a_written_pair_is_nibabels(suffix, tmp_path, affine_of, voxels):
    data, affine = voxels((1, 5, 7, 9), "int16"), affine_of("RAS")

    path = write_volume(
        tmp_path / f"case{suffix}", Volume(data, affine, classes={1: "left", 2: "right"})
    )

    image = nib.load(path)
    assert len(list(tmp_path.iterdir())) == 2
    assert isinstance(image, nib.Nifti1Pair)
    assert np.array_equal(np.asanyarray(image.dataobj).T, data[0])
    assert read_volume(path).classes == {1: "left", 2: "right"}
