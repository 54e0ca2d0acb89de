"""Zarr folders come back as they went, are placed as their metadata say, and damage is told."""

from __future__ import annotations

import contextlib
import json
import shutil

import numpy as np
import pytest

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError, describe_all, open_volume, sampled, stem
from napari_attnseg.io.zarr_voxels import ZarrVoxels
from napari_attnseg.volume import affine_for_itk

zarr = pytest.importorskip("zarr", reason="the extra large is not installed")
numcodecs = pytest.importorskip("numcodecs")

SHAPE = (1, 70, 7, 9)
SCALE, START = (2.9, 1.3, 0.7), (140.0, 12.5, -30.0)


@pytest.fixture
def written(tmp_path, voxels, affine_of):
    volume = Volume(voxels(SHAPE, "int16"), affine_of("PIR", "oblique"))
    return write_volume(tmp_path / "case.ome.zarr", volume)


def ome(folder, data, *, axes="zyx", version=2, unit="millimeter", scale=SCALE, start=START, **of):
    """Write an OME-Zarr folder with the library alone."""
    group = zarr.open_group(folder, mode="w", zarr_format=version)
    array = group.create_array("s0", shape=data.shape, dtype=data.dtype, chunks=(4,) * data.ndim)
    array[...] = data
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": one, "type": kinds.get(one, "space")} for one in axes]
    for one in named:
        if one["type"] == "space":
            one["unit"] = unit
    more = [1.0] * (len(axes) - 3)
    transforms = [
        {"type": "scale", "scale": [*more, *scale]},
        {"type": "translation", "translation": [0.0] * len(more) + list(start)},
    ]
    image = {
        "axes": named,
        "datasets": [{"path": "s0", "coordinateTransformations": transforms}],
        **of,
    }
    group.attrs.update(
        {"ome": {"multiscales": [image]}} if version == 3 else {"multiscales": [image]}
    )
    return folder


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "ASL"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_a_volume_comes_back_exactly(tmp_path, voxels, affine_of, dtype, orientation):
    volume = Volume(voxels(SHAPE, dtype), affine_of(orientation, "oblique"))

    back = read_volume(write_volume(tmp_path / "case.zarr", volume))

    assert back.data.dtype == dtype
    assert np.array_equal(back.data, volume.data)
    assert np.array_equal(back.affine, volume.affine)
    assert back.storage.extra["warnings"] == ()


def test_channels_classes_and_names_come_back(tmp_path, voxels, affine_of):
    several = Volume(voxels((3, 5, 7, 9), "int16"), affine_of("LPS"), channels=("T1", "T2", "PD"))
    labels = Volume(voxels((1, 5, 7, 9), "uint8"), affine_of("LPS"), classes={7: "left kidney"})

    back = read_volume(write_volume(tmp_path / "case.ome.zarr", several))
    named = read_volume(write_volume(tmp_path / "labels.ome.zarr", labels))

    assert np.array_equal(back.data, several.data)
    assert back.channels == ("T1", "T2", "PD")
    assert named.classes == {7: "left kidney"}


def test_the_library_alone_reads_the_same_voxels_and_place(written, affine_of):
    group = zarr.open_group(written, mode="r")

    (image,) = group.attrs["multiscales"]
    scale, shift = image["datasets"][0]["coordinateTransformations"]
    assert [one["name"] for one in image["axes"]] == ["z", "y", "x"]
    assert np.array_equal(group["0"][...], read_volume(written).data[0])
    assert np.allclose(scale["scale"], (2.9, 1.3, 0.7))
    assert np.allclose(shift["translation"], affine_for_itk(affine_of("PIR", "oblique"))[2::-1, 3])


@pytest.mark.parametrize("version", [2, 3])
def test_a_folder_of_others_is_placed_by_its_scale_and_shift(tmp_path, voxels, version):
    data = voxels((5, 7, 9), "int16")
    volume = read_volume(ome(tmp_path / "a.zarr", data, version=version))

    assert np.array_equal(volume.data[0], data)
    assert np.allclose(volume.affine @ [0, 0, 0, 1], (30.0, -12.5, 140.0, 1))
    assert np.allclose(volume.affine @ [1, 2, 3, 1], (30 - 0.7, -12.5 - 2.6, 140 + 8.7, 1))
    assert "which side is left" in volume.storage.extra["warnings"][0]


def test_units_become_millimetres(tmp_path, voxels):
    folder = ome(tmp_path / "a.zarr", voxels((5, 7, 9), "uint8"), unit="micrometer")

    assert np.allclose(read_volume(folder).spacing_dhw, np.array(SCALE) / 1000)


def test_a_transformation_of_the_whole_image_comes_after_that_of_the_array(tmp_path, voxels):
    whole = [
        {"type": "scale", "scale": [2.0, 2.0, 2.0]},
        {"type": "translation", "translation": [1.0, 0, 0]},
    ]
    folder = ome(tmp_path / "a.zarr", voxels((5, 7, 9), "uint8"), coordinateTransformations=whole)

    volume = read_volume(folder)

    assert np.allclose(volume.spacing_dhw, 2 * np.array(SCALE))
    assert np.allclose(volume.affine[:3, 3], (60.0, -25.0, 281.0))


def test_an_anatomical_orientation_is_followed(tmp_path, voxels):
    folder = ome(tmp_path / "a.zarr", voxels((5, 7, 9), "uint8"))
    path = folder / ".zattrs"
    told = json.loads(path.read_text())
    sides = ("superior-to-inferior", "posterior-to-anterior", "left-to-right")
    for axis, side in zip(told["multiscales"][0]["axes"], sides, strict=True):
        axis["anatomicalOrientation"] = {"type": "anatomical", "value": side}
    path.write_text(json.dumps(told))

    volume = read_volume(folder)

    assert volume.orientation == "RAI"
    assert volume.storage.extra["warnings"] == ()


def test_channels_and_a_single_time_are_no_axes_of_space(tmp_path, voxels):
    data = voxels((1, 3, 5, 7, 9), "int16")

    volume = read_volume(ome(tmp_path / "a.zarr", data, axes="tczyx"))

    assert np.array_equal(volume.data, data[0])
    assert np.allclose(volume.spacing_dhw, SCALE)


def test_times_and_channels_together_are_refused(tmp_path, voxels):
    folder = ome(tmp_path / "a.zarr", voxels((2, 3, 5, 7, 9), "int16"), axes="tczyx")

    with pytest.raises(VolumeError, match="3 axes in space and 2 others"):
        read_volume(folder)


def test_an_array_without_metadata_is_a_volume_of_unknown_place(tmp_path, voxels):
    data = voxels((5, 7, 9), "float32")
    array = zarr.open_array(tmp_path / "plain.zarr", mode="w", shape=data.shape, dtype=data.dtype)
    array[...] = data

    volume = read_volume(tmp_path / "plain.zarr")

    assert np.array_equal(volume.data[0], data)
    assert len(volume.storage.extra["warnings"]) == 2


def test_a_size_that_another_program_changed_is_believed_and_told(written):
    path = written / ".zattrs"
    told = json.loads(path.read_text())
    told["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"][0] = 5.8
    path.write_text(json.dumps(told))

    volume = read_volume(written)

    assert np.isclose(volume.spacing_dhw[0], 5.8)
    assert "disagree on the size" in volume.storage.extra["warnings"][0]


def test_a_lazy_volume_is_the_one_that_is_read_at_once(written):
    lazy, whole = open_volume(written, larger_than=0), read_volume(written)

    assert lazy.is_lazy
    assert np.array_equal(np.asarray(lazy.data), whole.data)
    for index in ((0, 3), (0, slice(None), 2), (0, slice(60, 2, -7), slice(None, None, -2), 4)):
        assert np.array_equal(np.asarray(lazy.data[index]), whole.data[index])
    assert np.array_equal(lazy.affine, whole.affine)
    assert not open_volume(written).is_lazy


def test_a_sample_for_the_contrast_unpacks_few_chunks(tmp_path, voxels, affine_of, monkeypatch):
    volume = Volume(voxels((1, 700, 7, 9), "int16"), affine_of("LPS"))
    lazy = open_volume(write_volume(tmp_path / "deep.zarr", volume), larger_than=0)
    asked, read = [], ZarrVoxels._decoded
    monkeypatch.setattr(
        ZarrVoxels, "_decoded", lambda self, ranges: asked.append(ranges[0]) or read(self, ranges)
    )

    sample = sampled(lazy, planes=20)

    assert len(asked) <= 3
    assert len(sample) <= 20
    planes = {plane.tobytes(): k for k, plane in enumerate(volume.data[0])}
    at = [planes[plane.tobytes()] for plane in sample]
    assert at == sorted(set(at))
    assert at[0] == 0
    assert at[-1] >= 640


def test_a_chunk_that_is_gone_is_warned_of(written):
    chunks = sorted(
        one for one in (written / "0").rglob("*") if one.is_file() and one.name.isdigit()
    )
    chunks[0].unlink()

    assert "1 of 2 chunks are not stored" in read_volume(written).storage.extra["warnings"][0]


def test_a_folder_without_chunks_is_refused(written):
    shutil.rmtree(written / "0" / "0")
    shutil.rmtree(written / "0" / "1")

    with pytest.raises(VolumeError, match="incomplete: it holds 0 of 2 chunks"):
        read_volume(written)


def chunk_of(folder):
    return max(
        (
            one
            for one in folder.rglob("*")
            if one.is_file() and one.name.replace(".", "").isdigit()
        ),
        key=lambda one: one.stat().st_size,
    )


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("cut", [0, 5, 17, 300, -1])
def test_a_chunk_of_blosc_that_is_cut_off_is_refused(tmp_path, voxels, cut, version):
    folder = tmp_path / "a.zarr"
    data = voxels((9, 20, 30), "int16")
    blosc = {2: numcodecs.Blosc(), 3: zarr.codecs.BloscCodec()}[version]
    array = zarr.create_array(
        folder, shape=data.shape, dtype=data.dtype, chunks=data.shape, zarr_format=version,
        compressors=blosc,
    )  # fmt: skip
    array[...] = data
    assert np.array_equal(read_volume(folder).data[0], data)
    chunk = chunk_of(folder)
    chunk.write_bytes(chunk.read_bytes()[:cut])

    with pytest.raises(VolumeError, match=r"'a.zarr' is damaged"):
        read_volume(folder)


def test_a_flipped_bit_in_what_was_written_is_never_passed_on(written):
    expected = read_volume(written).data
    chunk = chunk_of(written)
    whole = chunk.read_bytes()
    for at in range(0, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        chunk.write_bytes(damaged)
        found = None
        with contextlib.suppress(VolumeError):
            found = read_volume(written).data

        assert found is None or np.array_equal(found, expected)


@pytest.mark.parametrize("length", [0, 5, 100])
def test_a_chunk_that_is_cut_off_is_refused(written, length):
    chunk = next(one for one in (written / "0").rglob("*") if one.name.isdigit() and one.is_file())
    chunk.write_bytes(chunk.read_bytes()[:length])

    with pytest.raises(VolumeError, match=r"'case.ome.zarr' is damaged"):
        read_volume(written)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"multiscales": 7}', '{"multiscales": [{"datasets": []}]}']
)
def test_damaged_metadata_are_refused_or_pass_for_none(written, text):
    (written / ".zattrs").write_text(text)

    told = []
    try:
        told += read_volume(written).storage.extra["warnings"]
    except VolumeError as error:
        told.append(str(error))

    assert told


def test_writing_replaces_a_volume_but_no_other_folder(written, voxels, affine_of, tmp_path):
    other = Volume(voxels((1, 2, 3, 4), "uint8"), affine_of("LPS"))
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")

    write_volume(written, other)

    assert np.array_equal(read_volume(written).data, other.data)
    with pytest.raises(VolumeError, match="is no Zarr folder"):
        write_volume(tmp_path / "mine.zarr", other)
    assert (tmp_path / "mine.zarr" / "thesis.txt").read_text() == "years of work"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["case.ome.zarr", "mine.zarr"]


def test_what_fails_while_it_is_written_leaves_what_was_there(
    written, voxels, affine_of, monkeypatch
):
    before = read_volume(written)

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", fail)
    with pytest.raises(OSError, match="No space"):
        write_volume(written, Volume(voxels((1, 2, 3, 4), "uint8"), affine_of("LPS")))

    assert np.array_equal(read_volume(written).data, before.data)
    assert [one.name for one in written.parent.iterdir()] == ["case.ome.zarr"]


def test_a_volume_in_a_folder_of_volumes_is_described_as_one(written):
    (row,) = describe_all([written.parent])

    assert row["path"] == str(written)
    assert row["format"] == "OME-Zarr"
    assert stem(written) == "case"


def test_a_type_that_is_no_number_is_refused(tmp_path):
    array = zarr.open_array(tmp_path / "a.zarr", mode="w", shape=(3, 4, 5), dtype="complex64")
    array[...] = 1j

    with pytest.raises(VolumeError, match="holds the type 'complex64'"):
        read_volume(tmp_path / "a.zarr")
