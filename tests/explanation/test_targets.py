"""What can be asked about a volume, and which voxels that means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_attnseg.explanation import ExplainError, TargetSpec, explain
from napari_attnseg.explanation.freeze import freeze
from napari_attnseg.explanation.target import Target
from napari_attnseg.inference import Run
from napari_attnseg.io import write_volume
from napari_attnseg.preprocessing.pipeline import network_grid
from napari_attnseg.volume import Grid, GridMismatchError, Volume

OBLIQUE = np.array(
    [[-0.9, -0.3, 0.1, 5], [0.3, -0.95, 0.2, -7], [-0.2, -0.1, 1.1, 11], [0, 0, 0, 1.0]]
)
SHAPE = (14, 22, 18)


def logits_of(classes: np.ndarray, count: int = 3) -> torch.Tensor:
    """Return logits whose strongest class is given, ``(K, D, H, W)``."""
    return torch.from_numpy(np.stack([classes == k for k in range(count)]).astype(np.float32))


@pytest.fixture
def run(make_run: Any) -> Run:
    return make_run(classes={3: "liver", 9: "spleen"})


@pytest.fixture
def grid() -> Grid:
    return Grid(SHAPE, np.eye(4))


def two_parts() -> np.ndarray:
    """Return a class 1 with parts of 27 and 64 voxels, and a class 2."""
    classes = np.zeros(SHAPE, dtype=np.int64)
    classes[1:4, 2:5, 3:6] = 1
    classes[7:11, 10:14, 9:13] = 1
    classes[1:3, 15:20, 2:4] = 2
    return classes


def frozen(run: Run, grid: Grid, classes: np.ndarray, **spec: Any) -> Target:
    return freeze(run, TargetSpec(**{"value": 3, **spec}), logits_of(classes), grid)


def test_a_class_is_all_that_was_predicted(run: Run, grid: Grid) -> None:
    target = frozen(run, grid, two_parts())

    assert np.array_equal(target.region.numpy(), two_parts() == 1)
    assert target.coefficients == {1: 1.0}
    assert target.facts["predicted_share"] == 1.0


@pytest.mark.parametrize("number", [1, 2])
def test_parts_are_counted_from_the_largest(run: Run, grid: Grid, number: int) -> None:
    target = frozen(run, grid, two_parts(), kind="component", component=number)

    parts, _ = ndimage.label(two_parts() == 1, np.ones((3, 3, 3)))
    expected = sorted((parts == 1, parts == 2), key=lambda part: -part.sum())[number - 1]
    assert np.array_equal(target.region.numpy(), expected)


def test_voxels_that_share_a_corner_are_one_part(run: Run, grid: Grid) -> None:
    classes = np.zeros(SHAPE, dtype=np.int64)
    classes[2, 3, 4] = classes[3, 4, 5] = 1

    target = frozen(run, grid, classes, kind="component", component=1)

    assert target.voxels == 2


@pytest.mark.parametrize("voxel", [(2, 3, 4), (0, 1, 2)], ids=["inside", "beside"])
def test_a_place_chooses_the_part_that_it_is_in_or_beside(
    run: Run, grid: Grid, voxel: tuple[int, int, int]
) -> None:
    at = tuple(grid.world(np.array(voxel)))

    target = frozen(run, grid, two_parts(), kind="component", at=at)

    assert target.voxels == 27
    assert target.region[2, 3, 4]


def test_where_there_is_no_part_the_distance_to_the_nearest_is_said(run: Run, grid: Grid) -> None:
    target = frozen(run, grid, two_parts(), kind="component", at=(4.0, 3.0, 6.0))

    assert target.voxels == 0
    assert "nearest that the network found is 3.0 mm away" in target.reason


def test_there_are_only_as_many_parts_as_there_are(run: Run, grid: Grid) -> None:
    target = frozen(run, grid, two_parts(), kind="component", component=3)

    assert "found 2 parts of liver, so there is no part 3" in target.reason


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SRP"])
def test_a_clicked_voxel_is_the_same_in_every_storage_order(
    make_run: Any, orientation: str
) -> None:
    run = make_run(plan={"spacing_dhw": (1.4, 1.0, 0.8)}, folder="places")
    image = Volume(np.zeros((1, *SHAPE), np.float32), OBLIQUE).reoriented(orientation).grid
    network = network_grid(image, run.plan)
    world = Volume(np.zeros((1, *SHAPE)), OBLIQUE).grid.world(np.array([5, 13, 7]))
    logits = torch.zeros(3, *network.shape_dhw)

    target = freeze(run, TargetSpec(1, "voxel", at=tuple(world)), logits, image)

    voxel = np.argwhere(target.region.numpy())
    assert len(voxel) == 1
    away = network.voxel(world) - voxel[0]
    assert np.abs(away).max() <= 0.5 + 1e-6


def test_an_index_and_its_place_are_the_same_voxel(run: Run, grid: Grid) -> None:
    by_index = frozen(run, grid, two_parts(), kind="voxel", voxel=(5, 13, 7))
    by_place = frozen(run, grid, two_parts(), kind="voxel", at=(7.0, 13.0, 5.0))

    assert by_index.region[5, 13, 7]
    assert torch.equal(by_index.region, by_place.region)
    assert by_index.facts["predicted_share"] == 0.0


def test_a_place_outside_of_the_image_is_refused(run: Run, grid: Grid) -> None:
    with pytest.raises(ExplainError, match="outside of the image"):
        frozen(run, grid, two_parts(), kind="voxel", at=(7.0, 13.0, -0.6))


def test_a_drawn_region_is_taken_as_it_is_whatever_was_predicted(run: Run, grid: Grid) -> None:
    mask = np.zeros((1, *SHAPE), np.uint8)
    mask[0, 2:5, 3:8, 4:6] = 7

    target = frozen(run, grid, two_parts(), kind="region", region=Volume(mask, np.eye(4)))

    assert np.array_equal(target.region.numpy(), mask[0] > 0)
    share = ((two_parts() == 1) & (mask[0] > 0)).sum() / (mask > 0).sum()
    assert target.facts["predicted_share"] == pytest.approx(share)


def test_a_region_thinner_than_a_voxel_of_the_network_is_not_lost(make_run: Any) -> None:
    run = make_run(plan={"spacing_dhw": (4.0, 4.0, 4.0)}, folder="coarse")
    mask = np.zeros((1, 24, 32, 28), np.uint8)
    mask[0, 13, 9, 17] = 1
    image = Grid((24, 32, 28), np.eye(4))
    network = network_grid(image, run.plan)

    spec = TargetSpec(1, "region", region=Volume(mask, np.eye(4)))
    target = freeze(run, spec, torch.zeros(3, *network.shape_dhw), image)

    assert np.argwhere(target.region.numpy()).tolist() == [[3, 2, 4]]


def test_a_region_on_another_grid_is_refused(run: Run, grid: Grid) -> None:
    moved = np.eye(4)
    moved[2, 3] = 5.0

    with pytest.raises(GridMismatchError, match=r"5\.00 mm"):
        frozen(
            run,
            grid,
            two_parts(),
            kind="region",
            region=Volume(np.ones((1, *SHAPE), np.uint8), moved),
        )


@pytest.mark.parametrize("kind", ["false-positive", "false-negative"])
def test_errors_are_where_prediction_and_labels_differ(
    run: Run, grid: Grid, kind: str, tmp_path: Path
) -> None:
    labels = np.roll(two_parts(), 1, axis=2) * 3  # class 2 is not 9 there, and no class at all
    file = write_volume(
        tmp_path / "labels.nii.gz", Volume(labels[None].astype(np.uint8), np.eye(4))
    )

    target = frozen(run, grid, two_parts(), kind=kind, reference=file)

    found, labelled = two_parts() == 1, labels == 3
    expected = found & ~labelled if kind == "false-positive" else labelled & ~found
    assert np.array_equal(target.region.numpy(), expected)
    assert target.facts["predicted_share"] == float(kind == "false-positive")


def test_where_nothing_is_wrong_a_sentence_says_so(run: Run, grid: Grid) -> None:
    truth = Volume((two_parts() == 1)[None].astype(np.uint8) * 3, np.eye(4))

    invented = frozen(run, grid, two_parts(), kind="false-positive", reference=truth)
    missed = frozen(run, grid, two_parts(), kind="false-negative", reference=truth)

    assert "nothing was invented" in invented.reason
    assert "nothing was missed" in missed.reason


def test_a_contrast_subtracts_the_logit_of_the_other_class(run: Run, grid: Grid) -> None:
    target = frozen(run, grid, two_parts(), kind="contrast", versus=9)
    logits = torch.randn(1, 3, *SHAPE)
    weights = target.region / target.voxels

    score = target.score(logits, weights)

    expected = (logits[0, 1] - logits[0, 2])[target.region].mean()
    assert float(score) == pytest.approx(float(expected), rel=1e-5)
    assert target.facts["coefficients"] == {"3": 1.0, "9": -1.0}


def test_a_contrast_may_be_with_the_background(run: Run, grid: Grid) -> None:
    target = frozen(run, grid, two_parts(), kind="contrast", versus=0)

    assert target.coefficients == {1: 1.0, 0: -1.0}
    assert "rather than background" in target.facts["text"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"kind": "organ"}, "no target 'organ'"),
        ({"kind": "voxel"}, "needs a place in RAS mm"),
        ({"kind": "component"}, "needs a place in RAS mm .at. or a number"),
        ({"kind": "contrast"}, "needs the class to compare with"),
        ({"kind": "contrast", "versus": 1}, "compared with itself"),
        ({"kind": "class", "at": (1, 2, 3)}, "has no use for at"),
        ({"kind": "voxel", "at": (1, 2)}, "three numbers; found 2"),
        ({"kind": "voxel", "at": (1, 2, float("nan"))}, "finite"),
        ({"kind": "component", "component": 0}, "counted from 1"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ExplainError, match=words):
        TargetSpec(**spec)


def test_a_target_travels_as_json() -> None:
    form = {"class": 2, "kind": "component", "at": [1.5, -2.0, 3.0], "versus": 1}

    spec = TargetSpec.of(json.loads(json.dumps({**form, "region": None})))

    assert spec.to_dict() == form
    assert spec.tag == "component+1.5-2.0+3.0-versus-1"
    with pytest.raises(ExplainError, match="has no 'clas'"):
        TargetSpec.of({"clas": 1})


def test_what_the_network_did_not_call_so_is_explained_and_said(make_run: Any) -> None:
    run = make_run()
    image = Volume(np.random.default_rng(0).normal(size=(1, *SHAPE)).astype("f4"), np.eye(4))
    predicted = explain(run, image, {"class": 1, "kind": "voxel", "at": [3, 4, 5]}).info
    other = 1 if predicted["target"]["predicted_share"] == 0 else 2

    made = explain(run, image, {"class": other, "kind": "voxel", "at": [3, 4, 5]})

    assert made.map is not None
    assert np.isfinite(made.map.data).all()
    assert any("called none of this region" in one for one in made.info["remarks"])
    assert json.loads(json.dumps(made.info)) == made.info


def test_different_targets_have_different_maps(make_run: Any) -> None:
    run = make_run()
    image = Volume(np.random.default_rng(0).normal(size=(1, *SHAPE)).astype("f4"), np.eye(4))

    one = explain(run, image, {"class": 1, "kind": "voxel", "at": [3, 4, 5]}, "hires-cam")
    another = explain(run, image, {"class": 1, "kind": "voxel", "at": [13, 14, 5]}, "hires-cam")
    against = explain(
        run, image, {"class": 1, "kind": "voxel", "at": [3, 4, 5], "versus": 2}, "hires-cam"
    )
    other = explain(run, image, {"class": 2, "kind": "voxel", "at": [3, 4, 5]}, "hires-cam")

    assert not np.allclose(one.map.data, another.map.data)
    difference = one.map.data - other.map.data
    assert np.allclose(against.map.data, difference, atol=1e-5 * np.abs(difference).max())
