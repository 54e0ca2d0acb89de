"""NRRD's spaces, axes and segments mean what ITK and Slicer mean by them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import SimpleITK

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError, stem

SHAPE_IJK = (9, 7, 5)
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
DIRECTED = "(0.6,0.8,0.1) (-1.3,0.9,0) (0,0.2,2.9)"
MASTER = "Segmentation_MasterRepresentation:=Binary labelmap"


@pytest.fixture
def nrrd(tmp_path):
    """Return a function that writes a raw NRRD of counted voxels from its fields."""

    def write(*fields, sizes=SHAPE_IJK, name="case.nrrd", data=None):
        data = np.arange(np.prod(sizes)) if data is None else data
        head = ["NRRD0004", "type: short", f"dimension: {len(sizes)}", *fields]
        head += [f"sizes: {' '.join(map(str, sizes))}", "endian: little", "encoding: raw", "", ""]
        path = tmp_path / name
        path.write_bytes("\n".join(head).encode() + np.asarray(data, "<i2").tobytes())
        return path

    return write


def itk_affine(path):
    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return TO_LPS @ affine


@pytest.mark.parametrize(
    "space",
    [
        "right-anterior-superior",
        "left-anterior-superior",
        "left-posterior-superior",
        "RAS",
        "LAS",
        "LPS",
        "Right-Anterior-Superior",
        "scanner-xyz",
        "3D-right-handed",
    ],
)
def test_every_space_is_where_itk_puts_it(nrrd, tmp_path, space):
    path = nrrd(f"space: {space}", f"space directions: {DIRECTED}", "space origin: (1,-2,3.5)")

    volume = read_volume(path)
    copy = write_volume(tmp_path / "copy.nrrd", volume)

    assert np.allclose(volume.affine, itk_affine(path), atol=1e-9)
    assert np.array_equal(read_volume(copy).affine, volume.affine)
    assert np.allclose(itk_affine(copy), volume.affine, atol=1e-9)


@pytest.mark.parametrize(
    "fields",
    [
        ("spacings: 0.7 1.3 2.9",),
        ("spacings: 0.7 1.3 2.9", "axis mins: 10 20 30"),
        ("spacings: 0.7 1.3 2.9", "axis mins: 10 20 30", "centers: cell cell cell"),
        ("spacings: 0.7 1.3 2.9", "axis mins: 10 20 30", "centerings: node node node"),
        ("spacings: 0.7 1.3 2.9", "axis mins: nan nan nan"),
        ("kinds: space space space",),
        (),
    ],
)
def test_a_file_without_directions_is_where_itk_puts_it(nrrd, fields):
    path = nrrd(*fields)

    assert np.allclose(read_volume(path).affine, itk_affine(path), atol=1e-9)


@pytest.mark.parametrize(
    ("unit", "millimetres"), [("mm", 1), ("um", 0.001), ("cm", 10), ("m", 1000), ("parsec", 1)]
)
def test_units_of_length_become_millimetres(nrrd, unit, millimetres):
    path = nrrd(
        "space: LPS",
        f"space directions: {DIRECTED}",
        "space origin: (1,2,3)",
        f'space units: "{unit}" "{unit}" "{unit}"',
    )

    volume = read_volume(path)

    assert np.allclose(volume.affine[:3, 3], np.array([-1, -2, 3]) * millimetres)
    assert any("unit" in one for one in volume.storage.extra["warnings"]) == (unit == "parsec")


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_channels_may_stand_at_any_axis(nrrd, tmp_path, at):
    data = np.arange(3 * 5 * 7 * 9, dtype=np.int16).reshape(3, 5, 7, 9)
    vectors = ["(1,0,0)", "(0,1,0)", "(0,0,1)"]
    vectors.insert(at, "none")
    stored = np.moveaxis(data, 0, 3 - at)
    path = nrrd(
        "space: RAS",
        f"space directions: {' '.join(vectors)}",
        "space origin: (0,0,0)",
        sizes=stored.shape[::-1],
        data=stored,
    )

    volume = read_volume(path)
    copy = read_volume(write_volume(tmp_path / "copy.nrrd", volume))

    assert np.array_equal(volume.data, data)
    assert np.array_equal(copy.data, data)


def test_colours_and_several_axes_beside_space_are_refused(nrrd):
    colours = nrrd(
        "space: LPS",
        "space directions: none (1,0,0) (0,1,0) (0,0,1)",
        "kinds: RGB-color domain domain domain",
        sizes=(3, 9, 7, 5),
    )
    with pytest.raises(VolumeError, match="colours"):
        read_volume(colours)
    several = nrrd(
        "space: LPS",
        "space directions: none none (1,0,0) (0,1,0) (0,0,1)",
        sizes=(3, 2, 9, 7, 5),
    )
    with pytest.raises(VolumeError, match="2 others"):
        read_volume(several)


def test_lines_and_bytes_before_the_voxels_are_passed_over(nrrd):
    path = nrrd("line skip: 2", "byte skip: 3", "spacings: 1 1 1")
    head, _, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head + b"\n\n" + b"one\ntwo\nabc" + body)

    assert np.array_equal(read_volume(path).data.ravel(), np.arange(315))


def test_voxels_at_the_end_of_another_file_are_found(nrrd, tmp_path):
    path = nrrd("byte skip: -1", "data file: voxels.bin", "spacings: 1 1 1", name="case.nhdr")
    head, _, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head)
    (tmp_path / "voxels.bin").write_bytes(b"whatever" + body)

    assert np.array_equal(read_volume(path).data.ravel(), np.arange(315))


def test_numbers_as_text_are_read(nrrd):
    path = nrrd("spacings: 1 1 1")
    text = path.read_bytes().split(b"\n\n")[0].replace(b"encoding: raw", b"encoding: ascii")
    path.write_bytes(text + b"\n\n" + " ".join(map(str, range(315))).encode() + b"\n")

    assert np.array_equal(read_volume(path).data.ravel(), np.arange(315))


def test_key_value_pairs_come_back(nrrd, tmp_path):
    path = nrrd("spacings: 1 1 1", r"note:=two\nlines: \\n is none := of them", "modality:=MR")

    volume = read_volume(write_volume(tmp_path / "copy.nrrd", read_volume(path)))

    pairs = volume.storage.extra["pairs"]
    assert pairs == {"note": "two\nlines: \\n is none := of them", "modality": "MR"}


def segment(number, name, value=None, layer=None):
    lines = [f"Segment{number}_ID:=S{number}", f"Segment{number}_Name:={name}"]
    lines += [] if value is None else [f"Segment{number}_LabelValue:={value}"]
    return lines + ([] if layer is None else [f"Segment{number}_Layer:={layer}"])


PLACED = ("space: LPS", "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)")
LAYERED = ("space: LPS", "space directions: none (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)")


def test_names_and_values_of_segments_are_read_and_come_back(nrrd, tmp_path):
    data = np.zeros(315)
    data[5:9], data[20:25] = 3, 7
    path = nrrd(
        *PLACED,
        *segment(0, "tumour", 3, 0),
        *segment(1, "left kidney", 7, 0),
        "Segment1_Color:=0.5 0.25 1",
        "Segment1_Tags:=Segmentation.Status:inprogress|",
        MASTER,
        name="case.seg.nrrd",
        data=data,
    )

    volume = read_volume(path)
    copy = write_volume(tmp_path / "copy.seg.nrrd", volume)

    assert stem(path) == "case"
    assert volume.classes == read_volume(copy).classes == {3: "tumour", 7: "left kidney"}
    assert np.array_equal(read_volume(copy).data, volume.data)
    image = SimpleITK.ReadImage(str(copy))
    assert image.GetMetaData("Segment1_Color") == "0.5 0.25 1"
    assert image.GetMetaData("Segment1_LabelValue") == "7"
    assert image.GetMetaData("Segment0_Extent") == "0 8 0 6 0 4"


def test_layers_that_do_not_overlap_become_one_map(nrrd):
    data = np.zeros((315, 2))
    data[5:9, 0], data[20:25, 1] = 1, 1
    named = [*segment(0, "a", 1, 0), *segment(1, "b", 1, 1)]
    path = nrrd(*LAYERED, *named, sizes=(2, *SHAPE_IJK), name="case.seg.nrrd", data=data)

    volume = read_volume(path)

    assert volume.data.shape == (1, 5, 7, 9)
    assert volume.classes == {1: "a", 2: "b"}
    assert np.array_equal(volume.data.ravel(), data[:, 0] + 2 * data[:, 1])


def test_values_that_differ_by_layer_stay(nrrd):
    data = np.zeros((315, 2))
    data[5:9, 0], data[20:25, 1] = 4, 9
    named = [*segment(0, "a", 4, 0), *segment(1, "b", 9, 1)]
    path = nrrd(*LAYERED, *named, sizes=(2, *SHAPE_IJK), data=data)

    assert read_volume(path).classes == {4: "a", 9: "b"}


def test_segments_that_overlap_are_channels_and_come_back(nrrd, tmp_path):
    data = np.zeros((315, 2))
    data[5:9, 0], data[7:25, 1] = 1, 1
    path = nrrd(
        *LAYERED,
        *segment(0, "whole"),
        *segment(1, "core"),
        sizes=(2, *SHAPE_IJK),
        name="case.seg.nrrd",
        data=data,
    )

    volume = read_volume(path)
    copy = read_volume(write_volume(tmp_path / "copy.seg.nrrd", volume))

    assert volume.channels == copy.channels == ("whole", "core")
    assert np.array_equal(volume.data.reshape(2, -1), data.T)
    assert np.array_equal(copy.data, volume.data)
    with pytest.raises(VolumeError, match="channels that are not one-hot"):
        read_volume(path, labels=True)


def test_a_layer_that_is_not_there_is_refused(nrrd):
    with pytest.raises(VolumeError, match="layer that is not there"):
        read_volume(nrrd(*PLACED, *segment(0, "a", 1, 3)))


def test_names_of_classes_are_written_for_slicer(tmp_path, affine_of):
    data = np.zeros((1, 5, 7, 9), np.uint8)
    data[0, 2, 3, 4], data[0, 1, 1, 1] = 2, 5
    volume = Volume(data, affine_of("RAS"), classes={2: "liver"})

    path = write_volume(tmp_path / "case.seg.nrrd", volume)

    assert read_volume(path).classes == {2: "liver", 5: "class 5"}


def test_fractions_are_no_segmentation(tmp_path, affine_of):
    volume = Volume(np.full((1, 5, 7, 9), 0.5, np.float32), affine_of("RAS"))

    with pytest.raises(VolumeError, match="no labels"):
        write_volume(tmp_path / "case.seg.nrrd", volume)


def test_real_files_lie_where_itk_puts_them(shared_data, tmp_path):
    for name in ("brain1_image.nrrd", "brain1_label.nrrd", "lung_segmentation.mha"):
        path = shared_data / "formats" / name
        expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))

        volume = read_volume(path)
        copy = write_volume(tmp_path / name, volume)

        assert np.array_equal(volume.data[0], expected)
        assert np.allclose(volume.affine, itk_affine(path), atol=1e-9)
        assert np.array_equal(read_volume(copy).affine, volume.affine)
        assert np.array_equal(
            SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(copy))), expected
        )


def test_the_values_of_real_labels_stay(shared_data):
    path = shared_data / "formats" / "lung_segmentation.mha"

    assert set(np.unique(read_volume(path, labels=True).data)) == {0, 137}


def test_the_published_volume_of_a_real_mask_is_found_again(shared_data):
    with (shared_data / "formats" / "baseline_shape.csv").open() as file:
        rows = {row["featureName"]: row["brain1"] for row in csv.DictReader(file)}

    label = read_volume(shared_data / "formats" / "brain1_label.nrrd", labels=True)

    voxels = int((label.data == 1).sum())
    assert voxels == int(rows["diagnostics_Mask-original_VoxelNum"])
    cubic_mm = voxels * label.grid.voxel_volume_ml * 1000
    assert cubic_mm == pytest.approx(float(rows["original_shape_VoxelVolume"]), rel=1e-4)
