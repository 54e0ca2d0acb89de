"""Folders of pictures become volumes in the order of their numbers; others are refused."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError, describe_all, known_suffix

SHAPE = (12, 7, 9)


@pytest.fixture
def stack(tmp_path):
    """Return a function that writes slices as pictures and gives their folder."""

    def write(data, suffix=".png", name="slice_{}"):
        folder = tmp_path / "stack"
        folder.mkdir(exist_ok=True)
        for number, one in enumerate(data, start=1):
            path = folder / f"{name.format(number)}{suffix}"
            if suffix in (".tif", ".tiff"):
                tifffile.imwrite(path, one)
            else:
                Image.fromarray(one).save(path)
        return folder

    return write


def warnings_of(volume):
    return " ".join(volume.storage.extra["warnings"])


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", "uint8"), (".png", "uint16")]
    + [(".tif", one) for one in ("uint8", "int8", "uint16", "int16", "int32", "float32")]
    + [(".tiff", "float64")],
)
def test_slices_stand_in_the_order_of_their_numbers(stack, voxels, suffix, dtype):
    data = voxels(SHAPE, dtype)

    volume = read_volume(stack(data, suffix))

    assert volume.data.dtype == dtype
    assert np.array_equal(volume.data[0], data)
    assert volume.orientation == "LPS"
    assert volume.spacing_dhw == (1, 1, 1)
    assert "1 mm" in warnings_of(volume)


def test_itk_reads_the_same_stack(stack, voxels):
    folder = stack(voxels(SHAPE, "uint8"), name="a{:03d}")
    names = sorted(str(one) for one in folder.iterdir())

    volume = read_volume(folder)

    image = SimpleITK.ReadImage(names)
    assert np.array_equal(volume.data[0], SimpleITK.GetArrayFromImage(image))
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert np.array_equal(volume.affine, np.diag([-1, -1, 1, 1]))


def test_grey_jpegs_are_read_with_a_warning(stack, voxels):
    data = np.repeat(np.arange(12, dtype=np.uint8)[:, None] * 16, 63, axis=1).reshape(SHAPE)

    volume = read_volume(stack(data, ".jpg"))

    assert np.abs(volume.data[0].astype(int) - data).max() <= 2
    assert "JPEG" in warnings_of(volume)


def test_colours_are_channels_unless_they_are_grey(stack, voxels):
    data = voxels((*SHAPE, 3), "uint8")

    assert np.array_equal(read_volume(stack(data)).data, np.moveaxis(data, -1, 0))

    grey = read_volume(stack(np.repeat(data[..., :1], 3, axis=-1)))
    assert np.array_equal(grey.data[0], data[..., 0])
    assert "grey" in warnings_of(grey)


def test_blended_masks_are_no_labels(stack, voxels):
    with pytest.raises(VolumeError, match="3 channels that are not one-hot"):
        read_volume(stack(voxels((*SHAPE, 3), "uint8")), labels=True)


def test_the_numbers_of_a_palette_are_the_values(tmp_path):
    folder = tmp_path / "mask"
    folder.mkdir()
    data = np.arange(63, dtype=np.uint8).reshape(7, 9) % 4
    image = Image.fromarray(data, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(folder / "1.png")

    volume = read_volume(folder, labels=True)

    assert np.array_equal(volume.data[0, 0], data)
    assert "palette" in warnings_of(volume)


def test_an_opaque_alpha_is_dropped_and_another_refused(stack, voxels):
    data = voxels((*SHAPE, 4), "uint8")
    data[..., 3] = 255
    assert read_volume(stack(data)).data.shape == (3, *SHAPE)

    data[4, 2, 2, 3] = 7
    with pytest.raises(VolumeError, match=r"slice_5\.png.*transparent"):
        read_volume(stack(data))


def test_missing_numbers_are_told(stack, voxels):
    folder = stack(voxels(SHAPE, "uint8"))
    (folder / "slice_4.png").unlink()
    (folder / "slice_9.png").unlink()

    assert "leave out 4, 9;" in warnings_of(read_volume(folder))


def test_slices_of_other_sizes_or_types_are_refused_with_both(stack, voxels):
    folder = stack(voxels(SHAPE, "uint8"))
    Image.fromarray(np.zeros((7, 10), np.uint8)).save(folder / "slice_3.png")
    with pytest.raises(VolumeError, match=r"slice_3\.png.*10 x 7 uint8 where that has 9 x 7"):
        read_volume(folder)

    Image.fromarray(np.zeros((7, 9), np.uint16)).save(folder / "slice_3.png")
    with pytest.raises(VolumeError, match="9 x 7 uint16"):
        read_volume(folder)


def test_a_folder_of_several_kinds_or_none_is_no_volume(stack, voxels, tmp_path):
    folder = stack(voxels(SHAPE, "uint8"))
    (folder / "notes.txt").write_text("kept apart")
    assert read_volume(folder).data.shape == (1, *SHAPE)

    (folder / "view.jpg").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for one in (folder, tmp_path / "empty"):
        with pytest.raises(VolumeError, match="is a folder"):
            read_volume(one)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_cut_and_flipped_pictures_are_refused_by_name(stack, voxels, suffix):
    folder = stack(voxels(SHAPE, "uint8"), suffix)
    path = folder / f"slice_5{suffix}"
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, max(len(whole) // 40, 1)):
        path.write_bytes(whole[:end])
        with pytest.raises(VolumeError, match="slice_5"):
            read_volume(folder)


def test_a_tiff_whose_last_pages_are_lost_is_refused(tmp_path, voxels):
    path = tmp_path / "case.tif"
    tifffile.imwrite(path, voxels(SHAPE, "uint8"), photometric="minisblack", rowsperstrip=2)
    whole = path.read_bytes()
    # The last bytes only say how large a point is.
    for end in range(0, len(whole) - 50, len(whole) // 50):
        path.write_bytes(whole[:end])

        with pytest.raises(VolumeError, match=r"case\.tif"):
            read_volume(path)


def test_a_flipped_bit_in_a_png_is_found(stack, voxels):
    folder = stack(voxels(SHAPE, "uint8"))
    expected = read_volume(folder).data
    path = folder / "slice_5.png"
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            volume = read_volume(folder)
        except VolumeError:
            continue
        assert np.array_equal(volume.data, expected)


def test_the_pages_of_one_tiff_are_slices(tmp_path, voxels):
    data = voxels(SHAPE, "uint16")
    path = tmp_path / "case.tif"
    tifffile.imwrite(path, data, photometric="minisblack")

    assert np.array_equal(read_volume(path).data[0], data)


def test_one_picture_is_a_slice_when_it_is_named(stack, voxels):
    data = voxels(SHAPE, "uint8")

    volume = read_volume(stack(data) / "slice_3.png")

    assert volume.storage.ndim == 2
    assert np.array_equal(volume.data[0, 0], data[2])


def test_pictures_are_not_looked_for_in_folders_but_a_folder_of_them_is_described(stack, voxels):
    folder = stack(voxels(SHAPE, "uint8"))

    (row,) = describe_all([folder])

    assert known_suffix("screenshot.png") is None
    assert row["ok"]
    assert row["shape"] == list(SHAPE)


def test_pictures_are_not_written(tmp_path):
    volume = Volume(np.zeros((1, 1, 7, 9), np.uint8), np.eye(4))

    with pytest.raises(VolumeError, match=r"cannot say where.*\.nii\.gz"):
        write_volume(tmp_path / "case.png", volume)

    assert not list(tmp_path.iterdir())
