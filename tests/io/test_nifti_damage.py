"""Damaged and strange files load right, or are refused with one sentence that names them."""

from __future__ import annotations

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from napari_attnseg import read_volume
from napari_attnseg.io import VolumeError, gzip_stream

SHAPE_IJK = (9, 7, 5)

REFUSED = {
    "affine_nan.nii": "placed in space",
    "dim_claims_30000.nii": "cut off",
    "dim_zero.nii": "no voxels: its size is 34 x 0 x 35",
    "gzip_bitflip.nii.gz": "damaged",
    "header_only.nii": "cut off",
    "trunc_half.nii.gz": "cut off",
    "trunc_tail8.nii.gz": "cut off",
    "zero_bytes.nii.gz": "empty",
}


def is_one_sentence(error, path):
    text = str(error)
    return path.name in text and text.endswith(".") and "\n" not in text and len(text) < 300


def read_or_refuse(path):
    """Return the volume, or None if it was refused with a sentence; nothing else may happen."""
    refusal = None
    try:
        return read_volume(path)
    except VolumeError as error:
        refusal = error
    assert is_one_sentence(refusal, path)
    return None


def test_every_hostile_file_loads_as_nibabel_reads_it_or_is_refused_by_name(shared_data):
    for path in sorted((shared_data / "hostile").glob("*.nii*")):
        if path.name in REFUSED:
            with pytest.raises(VolumeError, match=REFUSED[path.name]) as caught:
                read_volume(path)
            assert is_one_sentence(caught.value, path)
            continue

        volume = read_volume(path)

        plain = gzip.decompress(path.read_bytes()) if gzip_stream.is_gzip(path) else None
        image = nib.Nifti1Image.from_bytes(plain) if plain else nib.load(path)
        stored = np.asanyarray(image.dataobj).T
        assert np.array_equal(volume.data, stored.reshape(volume.data.shape), equal_nan=True)
        assert np.array_equal(volume.affine, image.affine)


def test_every_nifti_format_loads_as_nibabel_reads_it_or_is_refused_by_name(shared_data):
    folder = shared_data / "formats"
    for name in ("big.nii.gz", "with_extension.nii.gz", "avg152T1_LR_nifti2.nii.gz"):
        volume, image = read_volume(folder / name), nib.load(folder / name)
        stored = np.asanyarray(image.dataobj).T
        assert np.array_equal(volume.data, stored.reshape(volume.data.shape))
        assert volume.data.dtype.isnative
        assert np.array_equal(volume.affine, image.affine)
    for name, reason in {"5D_small.nii": "5 axes", "not-nifti.nii": "not a NIfTI file"}.items():
        with pytest.raises(VolumeError, match=reason) as caught:
            read_volume(folder / name)
        assert is_one_sentence(caught.value, folder / name)


def test_every_real_volume_loads_as_nibabel_reads_it(shared_data):
    for folder in ("cord", "totalsegmentator", "metrics", "spleen", "hippocampus_faults"):
        for path in (shared_data / folder).rglob("*.nii.gz"):
            volume, image = read_volume(path), nib.load(path)
            stored = np.asanyarray(image.dataobj).T
            assert np.array_equal(volume.data, stored.reshape(volume.data.shape))
            assert volume.data.dtype == stored.dtype
            assert np.array_equal(volume.affine, image.affine)


@pytest.fixture
def case(save, voxels, affine_of):
    return save(voxels(SHAPE_IJK, "int16"), affine_of("LPS", "oblique"))


@pytest.fixture
def plain(save, voxels, affine_of):
    return save(voxels(SHAPE_IJK, "int16"), affine_of("LPS", "oblique"), name="case.nii")


@pytest.fixture(params=["isal", "zlib"])
def either_library(request, monkeypatch):
    if request.param == "zlib":
        import zlib

        monkeypatch.setattr(gzip_stream, "GzipFile", gzip.GzipFile)
        monkeypatch.setattr(gzip_stream, "_members", None)
        monkeypatch.setattr(gzip_stream, "_DAMAGE", (gzip.BadGzipFile, zlib.error))


def test_a_flipped_bit_anywhere_is_found(case, either_library):
    good, whole = read_volume(case), case.read_bytes()
    for at in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (at % 8)
        case.write_bytes(flipped)
        volume = read_or_refuse(case)
        # Only the gzip header has bytes that nothing depends on, such as the time.
        assert volume is None or at < 10
        assert volume is None or np.array_equal(volume.data, good.data)


def test_a_file_cut_anywhere_is_refused(case, plain, either_library):
    for path in (case, plain):
        whole = path.read_bytes()
        for length in range(0, len(whole), 11):
            path.write_bytes(whole[:length])
            with pytest.raises(VolumeError) as caught:
                read_volume(path)
            assert is_one_sentence(caught.value, path)


def test_random_damage_to_the_header_never_ends_in_another_error(plain):
    whole, random = plain.read_bytes(), np.random.default_rng(0)
    for _ in range(600):
        damaged = bytearray(whole)
        for at in random.integers(0, 352, size=3):
            damaged[at] = random.integers(0, 256)
        plain.write_bytes(damaged)
        read_or_refuse(plain)


def test_a_compressed_file_of_several_members_is_read_whole(case, either_library):
    good, whole = read_volume(case), gzip.decompress(case.read_bytes())

    case.write_bytes(b"".join(gzip.compress(whole[at : at + 100]) for at in range(0, 1000, 100)))

    assert np.array_equal(read_volume(case).data, good.data)


def test_something_else_behind_the_compressed_data_is_refused(case, either_library):
    case.write_bytes(case.read_bytes() + b"something else, long enough to be a header")

    with pytest.raises(VolumeError, match="damaged"):
        read_volume(case)


def test_more_voxels_than_the_header_claims_are_warned_of(plain):
    plain.write_bytes(plain.read_bytes() + bytes(100))

    assert "More data follow" in read_volume(plain).storage.extra["warnings"][0]


def test_content_decides_not_the_name(case, plain):
    packed = case.read_bytes()
    case.write_bytes(plain.read_bytes())
    plain.write_bytes(packed)

    for path in (case, plain):
        assert read_volume(path).data.shape == (1, 5, 7, 9)
        assert "unlike its name" in read_volume(path).storage.extra["warnings"][0]


def test_a_small_file_that_promises_terabytes_is_refused_before_memory_is_asked_for(plain):
    whole = bytearray(plain.read_bytes())
    struct.pack_into("<4h", whole, 40, 3, 30000, 30000, 30000)
    for content in (bytes(whole), gzip.compress(whole)):
        plain.write_bytes(content)
        with pytest.raises(VolumeError, match="54000000000000 bytes"):
            read_volume(plain)


@pytest.mark.parametrize(
    ("offset", "packed", "reason"),
    [
        (70, struct.pack("<h", 32), "complex numbers"),
        (70, struct.pack("<h", 128), "RGB colours"),
        (70, struct.pack("<h", 999), "code 999"),
        (40, struct.pack("<8h", 1, 9, 1, 1, 1, 1, 1, 1), "one axis only"),
        (40, struct.pack("<8h", 5, 3, 3, 1, 7, 5, 1, 1), "5 axes"),
        (40, struct.pack("<8h", 3, 9, -7, 5, 1, 1, 1, 1), "9 x -7 x 5"),
        (344, b"ni1\0", "pair"),
        (344, b"\0\0\0\0", "not a NIfTI"),
        (108, struct.pack("<f", np.nan), "begin at byte nan"),
        (108, struct.pack("<f", 1e30), "begin at byte 1e"),
        (112, struct.pack("<2f", 2.0, np.nan), "scaled by"),
    ],
)
def test_a_header_of_no_use_is_refused_with_its_reason(plain, offset, packed, reason):
    whole = bytearray(plain.read_bytes())
    whole[offset : offset + len(packed)] = packed
    plain.write_bytes(whole)

    with pytest.raises(VolumeError, match=reason) as caught:
        read_volume(plain)

    assert is_one_sentence(caught.value, plain)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0.0), (1.0, -1024.0), (-2.25, 3.5)])
def test_scaled_integers_become_float32_as_nibabel_scales_them(
    tmp_path, voxels, order, slope, intercept
):
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype("int16")
    image = nib.Nifti1Image(voxels(SHAPE_IJK, "int16"), np.eye(4), header)
    path = tmp_path / "scaled.nii"
    nib.save(image, path)
    whole = bytearray(path.read_bytes())
    struct.pack_into(f"{image.header.endianness}2f", whole, 112, slope, intercept)
    path.write_bytes(whole)

    volume = read_volume(path)

    assert volume.data.dtype == np.float32
    assert volume.storage.dtype == "int16"
    assert np.allclose(volume.data[0].transpose(2, 1, 0), nib.load(path).get_fdata(), rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf, 1.0])
def test_a_slope_that_says_nothing_leaves_integers(plain, slope):
    whole = bytearray(plain.read_bytes())
    struct.pack_into("<2f", whole, 112, slope, 0.0)
    plain.write_bytes(whole)

    assert read_volume(plain).data.dtype == np.int16


def test_a_zero_qfac_counts_as_one(plain):
    whole = bytearray(plain.read_bytes())
    struct.pack_into("<h", whole, 254, 0)
    struct.pack_into("<f", whole, 76, 0.0)
    plain.write_bytes(whole)
    good = nib.load(plain)
    good.header["pixdim"][0] = 1

    assert np.allclose(read_volume(plain).affine, good.header.get_qform())


def test_a_qform_that_is_no_rotation_is_refused_only_where_it_decides(plain):
    whole = bytearray(plain.read_bytes())
    struct.pack_into("<3f", whole, 256, 3.0, 0.0, 0.0)
    plain.write_bytes(whole)
    assert "qform is damaged" in read_volume(plain).storage.extra["warnings"][0]

    struct.pack_into("<h", whole, 254, 0)
    plain.write_bytes(whole)

    with pytest.raises(VolumeError, match="qform is not a rotation"):
        read_volume(plain)


def test_a_slice_without_a_third_axis_in_its_header_gets_a_thickness(save, voxels, affine_of):
    path = save(voxels((9, 7), "int16"), affine_of("LPS"), name="slice.nii")
    whole = bytearray(path.read_bytes())
    for row in (280, 296, 312):
        struct.pack_into("<f", whole, row + 8, 0.0)
    path.write_bytes(whole)

    volume = read_volume(path)

    assert volume.data.shape == (1, 1, 7, 9)
    assert np.allclose(volume.spacing_dhw, (1, 1.3, 0.7))


def test_forms_that_disagree_are_warned_of_and_the_sform_is_taken(save, voxels, affine_of):
    shifted = affine_of("RAS")
    shifted[2, 3] += 5
    path = save(voxels(SHAPE_IJK, "int16"), affine_of("RAS"), shifted)

    volume = read_volume(path)

    assert np.allclose(volume.affine, affine_of("RAS"))
    assert "disagree" in volume.storage.extra["warnings"][0]
    assert "5.00 mm" in volume.storage.extra["warnings"][0]


def test_a_volume_without_a_place_is_warned_of(save, voxels):
    path = save(voxels(SHAPE_IJK, "int16"))

    assert "does not say where" in read_volume(path).storage.extra["warnings"][0]


def test_nan_and_infinity_are_kept(save, affine_of):
    data = np.ones(SHAPE_IJK, np.float32)
    data[1, 2, 3], data[4, 5, 2] = np.nan, -np.inf
    path = save(data, affine_of("RAS"))

    volume = read_volume(path)

    assert np.isnan(volume.data[0, 3, 2, 1])
    assert np.isneginf(volume.data[0, 2, 5, 4])


def test_voxels_can_be_changed_in_place(case):
    volume = read_volume(case)

    volume.data[0, 0, 0, 0] = 7

    assert volume.data[0, 0, 0, 0] == 7


def test_what_is_no_file_of_a_volume_is_refused_by_name(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(VolumeError, match=r"'notes.txt' has no ending .* known are .*.nii"):
        read_volume(tmp_path / "notes.txt")
    with pytest.raises(VolumeError, match="no file"):
        read_volume(tmp_path / "missing.nii")
    with pytest.raises(VolumeError, match="is a folder"):
        read_volume(tmp_path)
