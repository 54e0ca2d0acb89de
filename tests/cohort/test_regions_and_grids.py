"""Labels of regions, labels in another order, and images on several grids, in a project."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.cohort import Project, ProjectError, recognise
from napari_attnseg.io import VolumeError, read_volume, write_volume
from napari_attnseg.io.onto_grid import resampled
from napari_attnseg.jobs.inputs import read_images
from napari_attnseg.volume import GridMismatchError, Volume

Write = Callable[..., Path]
WriteJson = Callable[[str, Any], Path]
GRID = Volume(np.zeros((1, 6, 7, 8), np.float32), np.diag([1.0, 1.5, 2.0, 1.0])).grid


def image(seed: int = 0, **changes: Any) -> Volume:
    values = np.random.default_rng(seed).normal(size=(1, *GRID.shape_dhw)).astype(np.float32)
    return Volume(values, GRID.affine).replace(**changes)


def test_the_regions_of_nnunet_are_those_of_the_project(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    for name in ("a", "b"):
        write(f"imagesTr/{name}_0000.nii.gz"), write(f"labelsTr/{name}.nii.gz", 1, 2, 3)
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    content = {"channel_names": {"0": "T1"}, "labels": labels, "regions_class_order": [1, 2, 3]}
    write_json("dataset.json", content)

    project = Project.create(tmp_path / "project", recognise(tmp_path))

    assert project.regions.to_json() == {"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
    assert project.classes == {1: "whole", 2: "core", 3: "enhancing"}
    assert Project.open(project.path).regions == project.regions
    assert project.to_json()["regions"]["core"] == [2, 3]


def test_a_cohort_that_means_another_region_by_the_same_name_is_refused(
    tmp_path: Path, write: Write, write_json: WriteJson
) -> None:
    for root, core in (("one", [2, 3]), ("two", [2])):
        write(f"{root}/imagesTr/{root}_0000.nii.gz"), write(f"{root}/labelsTr/{root}.nii.gz", 1, 2)
        labels = {"background": 0, "whole": [1, 2, 3], "core": core, "part": [3]}
        write_json(f"{root}/dataset.json", {"channel_names": {"0": "T1"}, "labels": labels})
    project = Project.create(tmp_path / "project", recognise(tmp_path / "one"))

    with pytest.raises(ProjectError, match="core has the values"):
        project.add(recognise(tmp_path / "two"))


def test_labels_of_overlapping_channels_are_regions_in_every_case(tmp_path: Path) -> None:
    levels = {"a": np.arange(6), "b": np.array([0, 1, 1, 1, 1, 1])}
    for name, one in levels.items():
        write_volume(tmp_path / "images" / f"{name}.nii.gz", image())
        masks = [np.broadcast_to((one >= n)[:, None, None], GRID.shape_dhw) for n in (1, 3)]
        write_volume(
            tmp_path / "labels" / f"{name}.nii.gz",
            Volume(np.stack(masks).astype(np.uint8), GRID.affine),
        )

    project = Project.create(tmp_path / "project", recognise(tmp_path))

    assert project.regions.to_json() == {"region 1": [1, 3], "region 2": [2, 3]}
    found = read_volume(project.case("a").label, labels=True).data[0, :, 0, 0]
    assert found.tolist() == [0, 1, 1, 3, 3, 3]
    assert read_volume(project.case("b").label, labels=True).data[0, :, 0, 0].tolist() == [
        0, 1, 1, 1, 1, 1,
    ]  # fmt: skip


def test_a_label_stored_in_another_order_lies_on_its_image_and_is_told_of(
    tmp_path: Path,
) -> None:
    label = Volume((image().data > 0).astype(np.uint8), GRID.affine)
    write_volume(tmp_path / "images" / "a.nii.gz", image())
    write_volume(tmp_path / "labels" / "a.nii.gz", label.reoriented("LPS"))

    cohort = recognise(tmp_path)

    project = Project.create(tmp_path / "project", cohort)
    found = read_volume(project.case("a").label, labels=True)
    assert np.array_equal(found.data, label.data)
    assert found.grid.difference(GRID) is None
    assert "turned as the headers say: files of a" in cohort.warnings[0]


def test_a_dicom_image_goes_with_a_nifti_label_stored_las(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "totalsegmentator"
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "ct").symlink_to(source / "example_ct_dicom")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "ct.nii.gz").symlink_to(source / "example_seg_dicom.nii.gz")

    project = Project.create(tmp_path / "project", recognise(tmp_path))

    case = project.case("ct")
    ct, label = read_images(case.images), read_volume(case.label, labels=True)
    original = read_volume(source / "example_seg_dicom.nii.gz", labels=True)
    assert original.orientation == "LAS"
    assert ct.grid.difference(label.grid) is None
    place = np.argwhere(label.data[0] > 0)[::997]
    there = np.rint(original.grid.voxel(label.grid.world(place))).astype(int)
    assert np.array_equal(label.data[0][tuple(place.T)], original.data[0][tuple(there.T)])


def several_grids(root: Path, names: tuple[str, ...] = ("a", "b")) -> None:
    """Write cases of two images, the second on a grid of its own, and a label on the first."""
    coarse = GRID.strided((4, 5, 5), (1.5, 1.4, 1.6), (0.2, 0.3, -0.4))
    for name in names:
        write_volume(root / "imagesTr" / f"{name}_0000.nii.gz", image())
        other = np.random.default_rng(4).normal(size=(1, *coarse.shape_dhw)).astype(np.float32)
        write_volume(root / "imagesTr" / f"{name}_0001.nii.gz", Volume(other, coarse.affine))
        label = (image().data > 0).astype(np.uint8)
        write_volume(root / "labelsTr" / f"{name}.nii.gz", Volume(label, GRID.affine))
    names_json = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "x": 1}}
    (root / "dataset.json").write_text(json.dumps(names_json))


def test_images_on_several_grids_are_told_with_how_they_differ(tmp_path: Path) -> None:
    several_grids(tmp_path / "data")

    cohort = recognise(tmp_path / "data")

    assert "a_0001.nii.gz is on another grid" in cohort.warnings[0]
    assert "the sizes are 6 x 7 x 8 and 4 x 5 x 5 voxels" in cohort.warnings[0]
    assert "--resample-modalities" in cohort.warnings[0]
    project = Project.create(tmp_path / "project", cohort)
    with pytest.raises(GridMismatchError):
        read_images(project.case("a").images)


def test_images_are_put_onto_the_grid_of_the_label_when_the_user_agrees(tmp_path: Path) -> None:
    several_grids(tmp_path / "data")
    project = Project.create(tmp_path / "project", recognise(tmp_path / "data"))
    original = read_volume(project.case("a").images["FLAIR"])

    moved = project.resample_modalities()

    assert moved == ["a", "b"]
    case = Project.open(project.path).case("a")
    found = read_images(case.images)
    assert np.array_equal(found.data[0], image().data[0])
    assert np.array_equal(found.data[1], resampled(original, GRID).data[0], equal_nan=True)
    assert case.images["T1"].name == "a_0000.nii.gz"
    told = json.loads(case.images["FLAIR"].read_text())
    assert told["files"] == ["../../data/imagesTr/a_0001.nii.gz"]
    assert told["grid"]["fit"] == "resampled"
    assert project.to_json()["resample_modalities"] is True


def test_cases_that_are_added_later_are_resampled_too_and_known_ones_stay(
    tmp_path: Path,
) -> None:
    several_grids(tmp_path / "data")
    project = Project.create(tmp_path / "project", recognise(tmp_path / "data"))
    project.resample_modalities()
    before = project.case("a").images
    several_grids(tmp_path / "data", ("c",))

    warnings = project.add(recognise(tmp_path / "data"))

    assert project.case("a").images == before
    assert read_images(project.case("c").images).data.shape == (2, 6, 7, 8)
    assert not any("left out" in one for one in warnings)


def test_a_project_with_its_data_can_be_moved(tmp_path: Path) -> None:
    several_grids(tmp_path / "here" / "data")
    project = Project.create(tmp_path / "here" / "project", recognise(tmp_path / "here" / "data"))
    project.resample_modalities()

    (tmp_path / "here").rename(tmp_path / "there")

    moved = Project.open(tmp_path / "there" / "project")
    assert read_images(moved.case("b").images).data.shape == (2, 6, 7, 8)


def test_a_source_that_is_gone_is_named(tmp_path: Path) -> None:
    several_grids(tmp_path / "data")
    project = Project.create(tmp_path / "project", recognise(tmp_path / "data"))
    project.resample_modalities()
    (tmp_path / "data" / "imagesTr" / "a_0001.nii.gz").unlink()

    with pytest.raises(VolumeError, match="a_0001"):
        read_images(project.case("a").images)


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"kind": "other"}',
        '{"kind": "volume made of other files", "files": []}',
        '{"kind": "volume made of other files", "files": ["a"], "grid": {}}',
        '{"kind": "volume made of other files", "files": ["a"], "classes": [{"low": 1}]}',
        '{"kind": "volume made of other files", "files": ["a"], "slices": ["x", "y"]}',
        '{"kind": "volume made of other files", "files": ["a"], "classes": '
        '[{"low": 1, "high": 2, "value": 300}]}',
        '{"kind": "volume made of other files", "files": ["self.volume.json"]}',
    ],
)
def test_no_damage_to_a_source_file_is_more_than_a_sentence(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "self.volume.json"
    file.write_text(damage)

    with pytest.raises(VolumeError, match=r"self\.volume\.json"):
        read_volume(file)
