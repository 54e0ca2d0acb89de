"""Each kind of damage in ``damage_table.csv``, and each shared file, has its outcome."""

from __future__ import annotations

import bz2
import csv
import gzip
import importlib.util
import json
import os
import shutil
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from napari_attnseg import read_volume
from napari_attnseg.io import VolumeError, open_volume

HERE = Path(__file__).parent
DAMAGE = {}


def rows_of(name):
    with (HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


ROWS, SHARED = rows_of("damage_table.csv"), rows_of("shared_table.csv")


def load(name, place):
    spec = importlib.util.spec_from_file_location(name, place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return folder, load("seeds_of_damage", HERE / "fuzz" / "seeds.py").make(folder)


def damage(kind):
    def enter(function):
        DAMAGE[kind] = function
        return function

    return enter


def edited(kind, change):
    """Enter damage that changes the bytes of the file."""
    DAMAGE[kind] = lambda path: path.write_bytes(change(path.read_bytes()))


def put(content, at, packed):
    return content[:at] + packed + content[at + len(packed) :]


def swapped(old, new, times=1):
    def change(content):
        assert old in content
        return content.replace(old, new, times)

    return change


# NIfTI
edited("an extension longer than the file", lambda c: put(c, 108, struct.pack("<f", 1e7)))
edited("an extension that says it has no size", lambda c: put(c, 352, struct.pack("<i", 0)))
edited("voxels that begin inside the header", lambda c: put(c, 108, struct.pack("<f", 100)))
edited(
    "a header of which each number is turned in its bytes but the first",
    lambda c: c[:4] + np.frombuffer(c[4:348], "<i2").byteswap().tobytes() + c[348:],
)
edited("a label table that names entities", swapped(b"<CaretExtension>", b"<!ENTITY a 'b'>."))
edited("a label table that is no XML", swapped(b"</LabelTable>", b"</LabelTabl> "))
edited("a row of zeros in the sform", lambda c: put(c, 296, bytes(16)))
edited("a voxel of 1e-30 mm", lambda c: put(put(c, 280, struct.pack("<f", 1e-30)), 252, bytes(2)))
edited("a place at 1e12 mm", lambda c: put(c, 292, struct.pack("<f", 1e12)))
edited("eight axes", lambda c: put(c, 40, struct.pack("<h", 8)))
edited("zeros after the end of the compressed data", lambda c: c + bytes(512))
edited("the same volume twice in one compressed file", lambda c: c + c)
edited("a compressed file of which the second half is another", lambda c: c + b"another" * 9)
edited("a compressed file that is compressed twice", gzip.compress)
edited("a compressed file whose length at the end is wrong", lambda c: put(c, len(c) - 4, b"\1\2"))
edited("text in place of a volume", lambda c: b"Dear colleague,\n" * 60)
edited("a page of a web server in place of a volume", lambda c: b"<!DOCTYPE html>" * 60)
edited(
    "a pointer of Git LFS in place of a volume",
    lambda c: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
)


@damage("a folder with the name of a volume")
def _(path):
    path.unlink()
    path.mkdir()


@damage("a link that leads to itself")
def _(path):
    path.unlink()
    path.symlink_to(path)


@damage("a link that leads nowhere")
def _(path):
    path.unlink()
    path.symlink_to("gone")


@damage("a pipe with the name of a volume")
def _(path):
    path.unlink()
    os.mkfifo(path)


@damage("a file that may not be read")
def _(path):
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")


@damage("a pair whose voxels are those of a smaller volume")
def _(path):
    body = path.with_suffix(".img")
    body.write_bytes(body.read_bytes()[:300])


@damage("a pair whose header is compressed and whose voxels are not")
def _(path):
    path.write_bytes(gzip.compress(path.read_bytes()))


# NRRD and MetaImage
def windows(content):
    end = content.find(b"\n\n") + 2 if b"\n\n" in content else content.find(b"LOCAL\n") + 6
    return content[:end].replace(b"\n", b"\r\n") + content[end:]


edited("a header of MetaImage with ends of lines of Windows", windows)
edited("a header of NRRD with ends of lines of Windows", windows)
edited("a header of NRRD in capital letters", swapped(b"sizes:", b"SIZES:"))
edited("a field of NRRD given twice", swapped(b"kinds:", b"endian: little\nkinds:"))
edited(
    "a data file that leads out of the folder and is not there",
    swapped(b"data file: case.raw.gz", b"data file: ../../../gone"),
)
edited(
    "a data file that is the header itself",
    swapped(b"data file: case.raw.gz", b"data file: case.nhdr"),
)
edited(
    "a segment in a layer that is not there", swapped(b"Segment0_Layer:=0", b"Segment0_Layer:=9")
)
edited(
    "a segment of which the value is no number",
    swapped(b"Segment0_LabelValue:=1", b"Segment0_LabelValue:=x"),
)


# DICOM
def dicom(kind, change, name="IM1"):
    """Enter damage that changes one file of a series, or the only one."""

    def apply(path):
        one = path / name if path.is_dir() else path
        dataset = pydicom.dcmread(one)
        change(dataset)
        dataset.save_as(one, enforce_file_format=False)

    DAMAGE[kind] = apply


def tags(**values):
    return lambda dataset: [dataset.__setattr__(*one) for one in values.items()]


def cut_frame(dataset):
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]


def other_syntax(syntax):
    return lambda dataset: setattr(dataset.file_meta, "TransferSyntaxUID", syntax)


def in_colours(dataset):
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"


def one_place(dataset):
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 0]


def other_segment(dataset):
    group = dataset.PerFrameFunctionalGroupsSequence[0]
    group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def fractions(dataset):
    dataset.SegmentationType, dataset.MaximumFractionalValue = "FRACTIONAL", 255
    count = dataset.NumberOfFrames * dataset.Rows * dataset.Columns
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelData = 7, b"\x80" * (count + count % 2)


def fewer_places(dataset):
    del dataset.PerFrameFunctionalGroupsSequence[0]


dicom("a DICOM slice of another size", tags(Rows=6))
dicom("a DICOM slice turned by 90 degrees", tags(ImageOrientationPatient=[0, 1, 0, -1, 0, 0]))
dicom("a DICOM slice moved aside by 5 mm", tags(ImagePositionPatient=[5, 0, 2.9]))
dicom("a DICOM slice with a place of two numbers", tags(ImagePositionPatient=[0, 0]))
dicom("a DICOM slice without pixels", lambda dataset: dataset.__delattr__("PixelData"))
dicom("a DICOM slice with 12 bits allocated", tags(BitsAllocated=12))
dicom("a DICOM slice with a slope of zero", tags(RescaleSlope=0))
dicom("a DICOM slice scaled beyond all numbers", tags(RescaleSlope="1e300"))
dicom(
    "a DICOM slice with a direction of length 2", tags(ImageOrientationPatient=[2, 0, 0, 0, 2, 0])
)
dicom("a DICOM slice with pixels of size 0", tags(PixelSpacing=[0, 0]))
dicom("a DICOM slice in colours", in_colours)
dicom("a DICOM slice that says it is not compressed and is", other_syntax("1.2.840.10008.1.2.1"))
dicom("a DICOM slice of which the compressed frame is cut in two", cut_frame)
dicom("a DICOM file that claims a hundred frames", tags(NumberOfFrames=100))
dicom("a DICOM file of frames at one place", one_place)
dicom("a DICOM file in a language that does not exist", tags(SpecificCharacterSet="ISO_IR 999"))
dicom("a segmentation of a segment that it does not describe", other_segment)
dicom("a segmentation of fractions", fractions)
dicom("a segmentation with fewer places than frames", fewer_places)


@damage("a DICOM slice that says it is compressed and is not")
def _(path):
    change = swapped(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    (path / "IM1").write_bytes(change((path / "IM1").read_bytes()))


@damage("a DICOM slice that is missing")
def _(path):
    shutil.copy(path / "IM2", path / "IM4")
    dataset = pydicom.dcmread(path / "IM4")
    dataset.ImagePositionPatient, dataset.SOPInstanceUID = [0, 0, 4 * 2.9], "1.2.3.9.9"
    dataset.save_as(path / "IM4")


@damage("a DICOM slice that is there twice")
def _(path):
    shutil.copy(path / "IM1", path / "IM1-copy")


@damage("a DICOM slice that is there twice with other pixels")
def _(path):
    dataset = pydicom.dcmread(path / "IM1")
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(path / "IM1-other")


@damage("a DICOM slice without its preamble")
def _(path):
    (path / "IM1").write_bytes((path / "IM1").read_bytes()[132:])


# Pictures
def picture(kind, change):
    DAMAGE[kind] = lambda path: change(path / "slice1.png")


def flip_pixel_byte(path):
    content = bytearray(path.read_bytes())
    content[content.find(b"IDAT") + 8] ^= 255
    path.write_bytes(content)


def animate(path):
    frames = [Image.fromarray(np.full((7, 9), n, np.uint8)) for n in (1, 99)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def widen(path):
    content = put(path.read_bytes(), 16, struct.pack(">II", 10**6, 10**6))
    path.write_bytes(put(content, 29, struct.pack(">I", zlib.crc32(content[12:29]))))


picture("a picture of another size among the slices", lambda p: Image.new("L", (5, 4)).save(p))
picture(
    "a picture with colours among the slices", lambda p: Image.new("RGB", (9, 7), "red").save(p)
)
picture("a picture whose checksum is wrong", flip_pixel_byte)
picture("a picture that is an animation", animate)
picture("a picture that says it is a million pixels wide", widen)


@damage("a TIFF whose list of pages is a circle")
def _(path):
    content = bytearray(path.read_bytes())
    at = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, at)[0]
    struct.pack_into("<I", content, at + 2 + 12 * count, at)
    path.write_bytes(content)


# Zarr
def chunk_of(path):
    return next(one for one in (path / "0").rglob("*") if one.name == "0" and one.is_file())


def metadata(kind, name, change):
    def apply(path):
        document = json.loads((path / name).read_text())
        change(document)
        (path / name).write_text(json.dumps(document))

    DAMAGE[kind] = apply


def scale_of(document):
    return document["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]


DAMAGE["a chunk of Zarr that is empty"] = lambda path: chunk_of(path).write_bytes(b"")
DAMAGE["a chunk of Zarr that is another"] = lambda path: chunk_of(path).write_bytes(
    bz2.compress(bytes(630))
)
metadata("a Zarr array of negative size", "0/.zarray", lambda d: d.update(shape=[5, -7, 9]))
metadata(
    "a Zarr array with a codec that does not exist",
    "0/.zarray",
    lambda d: d.update(compressor={"id": "magic"}),
)
metadata("a Zarr scale of zero", ".zattrs", lambda d: scale_of(d).update(scale=[0, 1, 1]))
metadata("a Zarr scale of two numbers", ".zattrs", lambda d: scale_of(d).update(scale=[1, 1]))


def test_the_table_and_the_kinds_of_damage_are_the_same():
    assert [row["kind"] for row in ROWS if row["kind"] not in DAMAGE] == []
    assert len(ROWS) == len(DAMAGE) >= 40


@pytest.mark.parametrize("row", ROWS, ids=[row["kind"] for row in ROWS])
def test_damage_of_each_kind_has_its_outcome(row, seeds, tmp_path):
    folder, places = seeds
    if row["seed"] not in places:
        pytest.skip(f"the library for {row['seed']} is not installed")
    relative = places[row["seed"]].relative_to(folder)
    shutil.copytree(folder / relative.parts[0], tmp_path / relative.parts[0])
    path = tmp_path / relative
    whole = read_volume(path)
    DAMAGE[row["kind"]](path)
    start = time.perf_counter()

    told, data = outcome(read_volume, path)
    lazily, lazy_data = outcome(lambda one: open_volume(one, larger_than=0).loaded(), path)

    assert told[0] == row["outcome"].replace("warned", "loads"), told
    assert row["words"] in told[1]
    assert lazily[0] == told[0]
    assert time.perf_counter() - start < 5
    if row["outcome"] == "loads":
        # What loads in spite of its damage is what it was before.
        assert np.array_equal(data, whole.data)
        assert np.array_equal(lazy_data, whole.data)


def outcome(read, path):
    try:
        volume = read(path)
    except VolumeError as error:
        text = str(error)
        is_sentence = text.endswith(".") and "\n" not in text and len(text) < 400
        return ("refused" if is_sentence else "no sentence", text), None
    return ("loads", " ".join(volume.storage.extra["warnings"])), volume.data


def test_every_shared_file_of_these_folders_is_in_the_table(shared_data):
    there = {
        str(path.relative_to(shared_data))
        for name in ("hostile", "formats", "hippocampus_faults")
        for path in (shared_data / name).rglob("*")
        if path.is_file()
    }
    irregular = {
        str(path.relative_to(shared_data)) for path in (shared_data / "dicom/irregular").iterdir()
    }

    assert there | irregular == {row["file"] for row in SHARED}


@pytest.mark.parametrize("row", SHARED, ids=[row["file"] for row in SHARED])
def test_a_shared_file_has_its_outcome(row, shared_data):
    path = shared_data / row["file"]

    told, _ = outcome(read_volume, path)
    as_label, _ = outcome(lambda one: read_volume(one, labels=True), path)

    assert told[0] == row["image"], told
    assert row["words"] in told[1]
    assert as_label[0] == row["label"], as_label
    assert row["label_words"] in as_label[1]
    if row["image"] == "loads":
        volume = read_volume(path)
        assert " x ".join(map(str, volume.shape_dhw)) == row["size_dhw"]
        assert str(volume.data.dtype) == row["type"]
        assert volume.orientation == row["orientation"]
        assert " x ".join(f"{mm:.3f}" for mm in volume.spacing_dhw) == row["spacing_dhw"]
