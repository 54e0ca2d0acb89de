"""Damaged NRRD, MetaImage, GIPL and pairs are refused with a sentence, fast and without memory."""

from __future__ import annotations

import re
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError
from napari_attnseg.volume import Storage

SUFFIXES = (".nrrd", ".mha", ".gipl", ".gipl.gz", ".hdr", ".nhdr", ".mhd")
SHAPE = (1, 5, 7, 9)
VOXELS = bytes(range(100, 163)) * 10

NRRD = """NRRD0005
type: short
dimension: 3
space: left-posterior-superior
sizes: 9 7 5
space directions: (0.7,0,0) (0,1.3,0) (0,0,2.9)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (1,2,3)
"""
META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 1 2 3
ElementSpacing = 0.7 1.3 2.9
DimSize = 9 7 5
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""

NRRD_FAULTS = [
    ("sizes: 9 7 5", "sizes: 9 7 6", "cut off"),
    ("sizes: 9 7 5", "sizes: 9 0 5", "no voxels: its size is 9 x 0 x 5"),
    ("sizes: 9 7 5", "sizes: 9 -7 5", "no voxels: its size is 9 x -7 x 5"),
    ("sizes: 9 7 5", "sizes: 9 7", "the size is '9 7'"),
    ("sizes: 9 7 5", "sizes: 9 7 five", "the size is"),
    ("sizes: 9 7 5", "sizes: 900000 900000 900000", "promises 1458000000000000000 bytes"),
    ("sizes: 9 7 5", "sizes: " + "9" * 40 + " 7 5", "promises"),
    ("sizes: 9 7 5", "sizes: " + "9" * 9000 + " 7 5", "the size is"),
    ("sizes: 9 7 5\n", "", "lacks the field 'sizes'"),
    ("dimension: 3", "dimension: 0", "claims 0 axes"),
    ("dimension: 3", "dimension: -3", "claims -3 axes"),
    ("dimension: 3", "dimension: 99999999", "claims 99999999 axes"),
    ("dimension: 3", "dimension: 4", "the size is"),
    ("dimension: 3\n", "", "lacks the field 'dimension'"),
    ("type: short", "type: block", "holds the type 'block'"),
    ("type: short", "type: double", "cut off"),
    ("type: short\n", "", "lacks the field 'type'"),
    ("endian: little\n", "", "in which order the bytes"),
    ("encoding: raw", "encoding: hex", "encoding 'hex'"),
    ("encoding: raw", "encoding: gzip", "damaged"),
    ("encoding: raw", "encoding: bzip2", "damaged"),
    ("encoding: raw", "encoding: ascii", "numbers where its header promises 315"),
    ("encoding: raw\n", "", "lacks the field 'encoding'"),
    ("(0.7,0,0)", "(nan,0,0)", "placed in space"),
    ("(0.7,0,0)", "(inf,0,0)", "placed in space"),
    ("(0.7,0,0)", "(1e308,1e308,1e308)", "placed in space"),
    ("(0.7,0,0)", "(0,0,0)", "placed in space"),
    ("(0.7,0,0)", "(0,1.3,0)", "placed in space"),
    ("(0.7,0,0)", "(0.7,0)", "differ in length"),
    ("(0.7,0,0)", "none", "an axis of space has no direction"),
    ("(0.7,0,0)", "(x,0,0)", "a direction is"),
    ("(0.7,0,0) ", "", "2 directions for 3 axes"),
    ("(1,2,3)", "(1,nan,3)", "placed in space"),
    ("(1,2,3)", "(1,2)", "the origin is"),
    ("kinds: domain domain domain", "kinds: domain domain", "2 kinds for 3 axes"),
    ("kinds:", "data file: LIST\nkinds:", "several files"),
    ("kinds:", "data file: slice%03d.raw 1 5 1\nkinds:", "several files"),
    ("kinds:", "data file: gone.raw\nkinds:", "'gone.raw', which is not there"),
    ("kinds:", "data file: /dev/zero\nkinds:", "which is not there"),
    ("kinds:", "byte skip: 100000\nkinds:", "cut off"),
    ("kinds:", "byte skip: -2\nkinds:", "byte skip is -2"),
    ("kinds:", "line skip: 100000\nkinds:", "cut off"),
    ("kinds:", "line skip: -1\nkinds:", "line skip is -1"),
    ("NRRD0005", "NRRD9999", "not an NRRD file"),
    ("NRRD0005", "\x89PNG\r\n\x1a\n", "not an NRRD file"),
]
META_FAULTS = [
    ("DimSize = 9 7 5", "DimSize = 9 7 6", "cut off"),
    ("DimSize = 9 7 5", "DimSize = 9 0 5", "no voxels"),
    ("DimSize = 9 7 5", "DimSize = 9 -7 5", "no voxels"),
    ("DimSize = 9 7 5", "DimSize = 9 7", "the size is"),
    ("DimSize = 9 7 5", "DimSize = 900000 900000 900000", "promises 1458000000000000000 bytes"),
    ("DimSize = 9 7 5\n", "", "lacks the field 'DimSize'"),
    ("NDims = 3", "NDims = 5", "has 5 axes"),
    ("NDims = 3", "NDims = -1", "has -1 axes"),
    ("NDims = 3", "NDims = three", "the number of axes is"),
    ("MET_SHORT", "MET_DOUBLE", "cut off"),
    ("MET_SHORT", "MET_STRING", "type 'MET_STRING'"),
    ("ElementType = MET_SHORT\n", "", "lacks the field 'ElementType'"),
    ("0.7 1.3 2.9", "0.7 0 2.9", "the spacing is"),
    ("0.7 1.3 2.9", "0.7 -1.3 2.9", "the spacing is"),
    ("0.7 1.3 2.9", "0.7 nan 2.9", "the spacing is"),
    ("0.7 1.3 2.9", "0.7 inf 2.9", "the spacing is"),
    ("0.7 1.3 2.9", "0.7 1.3", "spacing is"),
    ("1 0 0 0 1 0 0 0 1", "1 0 0 0 1 0 0 0 nan", "placed in space"),
    ("1 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0", "placed in space"),
    ("1 0 0 0 1 0 0 0 1", "1e308 1e308 0 0 1e308 0 0 0 1e308", "placed in space"),
    ("1 0 0 0 1 0 0 0 1", "1 0 0 1", "the matrix is"),
    ("Offset = 1 2 3", "Offset = 1 2 inf", "placed in space"),
    ("Offset = 1 2 3", "Offset = a b c", "the offset is"),
    ("CompressedData = False", "CompressedData = True", "damaged"),
    (
        "CompressedData = False", "CompressedData = True\nCompressedDataSize = 99999",
        "holds 630 of 99999 compressed bytes",
    ),
    ("BinaryData = True", "BinaryData = False", "numbers where its header promises 315"),
    ("ObjectType = Image", "ObjectType = Mesh", "no image"),
    ("LOCAL", "LIST", "several files"),
    ("LOCAL", "slice%03d.raw 1 5 1", "several files"),
    ("LOCAL", "gone.raw", "'gone.raw', which is not there"),
    ("LOCAL", "/dev/zero", "which is not there"),
    ("DimSize", "HeaderSize = 100000\nDimSize", "cut off"),
    ("DimSize", "HeaderSize = -7\nDimSize", "cut off"),
    ("DimSize", "ElementNumberOfChannels = 0\nDimSize", "claims 0 channels"),
    ("DimSize", "ElementNumberOfChannels = 2\nDimSize", "cut off"),
    ("ElementDataFile = LOCAL\n", "", "has no end"),
]  # fmt: skip
GIPL_FAULTS = [
    (0, b"\0\x09\0\x07\0\x06\0\x01", "cut off"),
    (0, b"\0\x09\0\0\0\x05\0\x01", "no voxels"),
    (0, b"\xff\xff\xff\xff\xff\xff\xff\xff", "promises 36891236399144501250 bytes"),
    (8, b"\0\x01", "code 1"),
    (10, b"\x7f\xc0\0\0", "the spacing is"),
    (10, b"\xbf\x80\0\0", "the spacing is"),
    (10, b"\0\0\0\0", "the spacing is"),
    (10, b"\x7f\x80\0\0", "placed in space"),
    (204, b"\x7f\xf8\0\0\0\0\0\0", "placed in space"),
    (252, b"\0\0\0\0", "lacks the mark"),
]


def is_one_sentence(error, path):
    # Of a pair the half that is damaged is named.
    text = str(error)
    return (
        f"'{path.name.split('.')[0]}." in text
        and text.endswith(".")
        and "\n" not in text
        and len(text) < 300
    )


def read_or_refuse(path):
    """Return the volume, or None if it was refused with a sentence; nothing else may happen."""
    refusal = None
    try:
        return read_volume(path)
    except VolumeError as error:
        refusal = error
    assert is_one_sentence(refusal, path), str(refusal)
    return None


def assert_refused(path, reason):
    start = time.perf_counter()

    with pytest.raises(VolumeError, match=re.escape(reason)) as caught:
        read_volume(path)

    assert time.perf_counter() - start < 1
    assert is_one_sentence(caught.value, path), str(caught.value)


@pytest.fixture
def written(tmp_path, affine_of, voxels):
    """Return a function that writes a small volume and gives the path of its voxels' file."""

    def write(suffix, dtype="int16", encoding=None):
        kind = "nrrd" if suffix == ".nrrd" else "metaimage"
        extra = {"encoding": encoding, "placing": {}}
        storage = Storage(format=kind, extra=extra) if encoding else None
        volume = Volume(voxels(SHAPE, dtype), affine_of("LPS"), storage)
        path = write_volume(tmp_path / f"case{suffix}", volume)
        body = next((one for one in tmp_path.iterdir() if one != path), path)
        return path, body

    return write


@pytest.mark.parametrize(("old", "new", "reason"), NRRD_FAULTS)
def test_a_damaged_nrrd_header_is_refused_with_its_reason(old, new, reason, tmp_path):
    path = tmp_path / "case.nrrd"
    assert old in NRRD
    path.write_bytes(
        NRRD.replace(old, new, 1).encode("latin-1") + b"\n" + bytes(range(1, 64)) * 10
    )

    assert_refused(path, reason)


@pytest.mark.parametrize(("old", "new", "reason"), META_FAULTS)
def test_a_damaged_metaimage_header_is_refused_with_its_reason(old, new, reason, tmp_path):
    path = tmp_path / "case.mha"
    assert old in META
    path.write_bytes(
        META.replace(old, new, 1).encode() + bytes(range(1, 64)).replace(b"\n", b"x") * 10
    )

    assert_refused(path, reason)


@pytest.mark.parametrize(("offset", "packed", "reason"), GIPL_FAULTS)
def test_a_damaged_gipl_header_is_refused_with_its_reason(offset, packed, reason, written):
    path, _ = written(".gipl")
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(packed)] = packed
    path.write_bytes(whole)

    assert_refused(path, reason)


def test_the_undamaged_headers_are_read(tmp_path):
    for name, text in (("case.nrrd", NRRD + "\n"), ("case.mha", META)):
        path = tmp_path / name
        path.write_bytes(text.encode() + bytes(630))

        assert read_volume(path).data.shape == SHAPE


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_anywhere_is_refused(suffix, written):
    path, body = written(suffix)
    for file in {path, body}:
        whole = file.read_bytes()
        for end in sorted({*range(0, len(whole), max(len(whole) // 60, 1)), len(whole) - 1}):
            file.write_bytes(whole[:end])
            # A detached header may end early; a pair's may lack the mark of its extensions.
            is_whole = file != body and (suffix == ".nhdr" or (suffix == ".hdr" and end >= 348))
            if not is_whole:
                assert read_or_refuse(path) is None, end
        file.write_bytes(whole)
    assert read_or_refuse(path) is not None


@pytest.mark.parametrize(
    ("suffix", "encoding"),
    [
        (".nrrd", "gzip"),
        (".nrrd", "bzip2"),
        (".mha", "zlib"),
        (".mha", "gzip"),
        (".gipl.gz", None),
    ],
)
def test_a_flipped_bit_in_packed_voxels_is_never_passed_on(suffix, encoding, written):
    path, _ = written(suffix, encoding=encoding)
    expected = read_volume(path).data.copy()
    whole = path.read_bytes()
    start = len(whole) - 700 if suffix == ".gipl.gz" else max(whole.find(b"\n\n"), 300)
    for at in range(max(start, 0), len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)

        volume = read_or_refuse(path)

        assert volume is None or np.array_equal(volume.data, expected)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_random_bytes_in_a_header_never_raise_anything_else(suffix, written):
    path, _ = written(suffix)
    whole = path.read_bytes()
    random = np.random.default_rng(7)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(int(random.integers(1, 6))):
            damaged[int(random.integers(0, min(len(whole), 400)))] = int(random.integers(0, 256))
        path.write_bytes(damaged)

        read_or_refuse(path)


@pytest.mark.parametrize("encoding", ["gzip", "bzip2", "raw"])
def test_a_claim_of_much_takes_no_memory(encoding, tmp_path):
    text = NRRD.replace("raw", encoding).replace("9 7 5", "4000 4000 1000")
    path = tmp_path / "case.nrrd"
    path.write_bytes(text.encode() + b"\n" + bytes(1000))
    tracemalloc.start()

    assert read_or_refuse(path) is None

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_stream_that_unpacks_to_more_is_told_of(tmp_path):
    path = tmp_path / "case.mha"
    packed = zlib.compress(bytes(640))
    text = META.replace("CompressedData = False", "CompressedData = True")
    path.write_bytes(text.encode() + packed + b"tail")

    warnings = read_volume(path).storage.extra["warnings"]

    assert any("More data follow" in one for one in warnings)


def test_a_header_without_end_is_refused_before_all_of_it_is_read(tmp_path):
    path = tmp_path / "case.nrrd"
    path.write_bytes(b"NRRD0005\n" + b"x" * (40 << 20))

    assert_refused(path, "has no end")


def test_half_a_pair_is_refused_by_the_name_of_the_other(written):
    path, body = written(".hdr")
    body.unlink()

    assert_refused(path, "other half, 'case.img'")


def test_a_single_files_header_in_a_pair_is_refused(written, tmp_path):
    path, _ = written(".hdr")
    whole = bytearray(path.read_bytes())
    whole[344:348] = b"n+1\0"
    path.write_bytes(whole)

    assert_refused(path, "name it .nii")
