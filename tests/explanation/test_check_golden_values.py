"""Measures of maps against values worked out by hand and against slow, plain loops."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from napari_attnseg.explanation.blocks import (
    Blocks,
    area,
    counts,
    descending,
    replacement_curve,
)
from napari_attnseg.explanation.checks.localisation import located
from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.impute import FACES, impute

CORNERS_AND_FACES = (
    ((0, 1, 0), 1 / 6),
    ((0, 0, 1), 1 / 6),
    ((0, 1, 1), 1 / 12),
    ((0, 1, -1), 1 / 12),
)


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def total(image: np.ndarray) -> Any:
    """Score an image with a linear model: the sum of its voxels."""
    yield
    return float(image.sum())


def line_of_blocks(values: list[float]) -> tuple[Blocks, np.ndarray, np.ndarray]:
    """Return voxels in a row, each of them a block, their image and their order."""
    image = np.array(values).reshape(1, 1, 1, -1)
    heat = Heat(image[0], (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    whole = (slice(None), slice(None), slice(None))
    blocks = Blocks.of(heat, (1, 1, len(values)), whole)
    return blocks, image, descending(blocks.values(heat), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("values", "steps", "fractions", "deletion", "insertion"),
    [
        ([0.4, 0.3, 0.2, 0.1], 2, [0, 0.5, 1], 0.4, 0.6),
        ([0.3, 0.25, 0.2, 0.15, 0.1], 3, [0, 0.4, 0.8, 1], 0.41, 0.59),
    ],
)
def test_deletion_and_insertion_of_a_sum_are_those_worked_out_by_hand(
    values: list[float], steps: int, fractions: list[float], deletion: float, insertion: float
) -> None:
    blocks, image, order = line_of_blocks(values)
    empty = np.zeros_like(image)

    xs, falling = finish(replacement_curve(blocks, order, (image, empty), steps, total))
    _, rising = finish(replacement_curve(blocks, order, (empty, image), steps, total))

    np.testing.assert_allclose(xs, fractions, atol=1e-12)
    assert area(xs, falling) == pytest.approx(deletion)
    assert area(xs, rising) == pytest.approx(insertion)


def test_a_curve_begins_with_nothing_and_ends_with_everything() -> None:
    assert counts(5, 3) == [0, 2, 4, 5]
    assert counts(3, 20) == [0, 1, 2, 3]
    assert counts(40, 20)[-2:] == [38, 40]


def test_equal_values_come_in_random_order() -> None:
    values = np.zeros(50)

    order = descending(values, np.random.default_rng(0))

    assert sorted(order) == list(range(50))
    assert list(order) != list(range(50))


def by_voxel(values: np.ndarray) -> Heat:
    """Return a map with a cell for each voxel."""
    return Heat(values, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def cube() -> np.ndarray:
    region = np.zeros((7, 9, 11), dtype=bool)
    region[2:5, 3:6, 4:8] = True
    return region


def test_a_map_that_is_the_mask_lies_wholly_inside_it() -> None:
    region = cube()

    found = located(by_voxel(region.astype(float)), region)

    assert found["energy_inside"] == 1.0
    assert found["rank_inside"] == 1.0
    assert found["hits"] is True
    assert found["auc"] == 1.0


def test_a_map_of_which_half_lies_inside_says_so() -> None:
    region = cube()
    values = np.zeros(region.shape)
    values[3, 4, 5] = values[0, 0, 0] = 2.0

    found = located(by_voxel(values), region)

    assert found["energy_inside"] == 0.5
    assert found["hits"] is True


def test_a_map_that_lies_elsewhere_is_not_inside() -> None:
    region = cube()

    found = located(by_voxel((~region).astype(float)), region)

    assert (found["energy_inside"], found["rank_inside"], found["auc"]) == (0.0, 0.0, 0.0)
    assert found["hits"] is False


def test_where_there_is_no_region_there_are_no_numbers() -> None:
    found = located(by_voxel(np.ones((3, 4, 5))), np.zeros((3, 4, 5), dtype=bool))

    assert all(found[name] is None for name in ("energy_inside", "hits", "rank_inside", "auc"))


def test_negative_values_are_no_energy() -> None:
    found = located(by_voxel(-np.ones((3, 4, 5))), np.eye(5)[None, :4].repeat(3, 0) > 0)

    assert found["energy_inside"] is None
    assert found["hits"] is None


def test_a_peak_that_is_near_enough_hits() -> None:
    region = cube()
    values = np.zeros(region.shape)
    values[3, 4, 9] = 1.0  # two voxels beyond

    near = located(by_voxel(values), region, (1.0, 1.0, 0.5), tolerance_mm=1.0)
    far = located(by_voxel(values), region, (1.0, 1.0, 0.5), tolerance_mm=0.9)

    assert near["peak_distance_mm"] == 1.0
    assert near["hits"] is True
    assert far["hits"] is False


def test_ranks_inside_are_the_mean_over_all_orders_of_equal_values() -> None:
    rng = np.random.default_rng(1)
    values, region = rng.integers(0, 3, size=(2, 2, 2)).astype(float), rng.random((2, 2, 2)) < 0.4
    count = int(region.sum())
    orders = [
        order
        for order in itertools.permutations(range(8))
        if all(values.flat[a] >= values.flat[b] for a, b in itertools.pairwise(order))
    ]
    expected = np.mean([region.flat[list(order[:count])].sum() / count for order in orders])

    found = located(by_voxel(values), region)

    assert found["rank_inside"] == pytest.approx(float(expected))


def test_the_area_under_the_roc_curve_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(2)
    values, region = rng.integers(0, 6, size=(3, 4, 5)).astype(float), rng.random((3, 4, 5)) < 0.3
    inside, outside = values[region], values[~region]
    pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]

    found = located(by_voxel(values), region)

    assert found["auc"] == pytest.approx(float(np.mean(pairs)))


def test_a_coarse_map_lies_where_its_cells_do() -> None:
    rng = np.random.default_rng(3)
    heat = Heat(rng.normal(size=(3, 4, 3)), (3.0, 2.0, 4.0), (1.0, 0.5, 1.5))
    region = np.zeros((8, 9, 11), dtype=bool)
    region[1:4, 2:5, 6:9] = True

    coarse = located(heat, region, (1.5, 1.0, 0.5))
    fine = located(by_voxel(heat.at_voxels((8, 9, 11))), region, (1.5, 1.0, 0.5))

    assert coarse == pytest.approx(fine)


@pytest.mark.parametrize("shape", [(1, 9, 11), (7, 9, 11)])
def test_holes_in_a_ramp_are_filled_with_the_ramp(shape: tuple[int, int, int]) -> None:
    d, h, w = np.meshgrid(*map(np.arange, shape), indexing="ij")
    ramp = (2.0 * d - 1.0 * h + 0.5 * w)[None].astype(np.float64)
    missing = np.zeros(shape, dtype=bool)
    missing[:, 2:7, 3:8] = shape[0] == 1
    missing[2:5, 2:7, 3:8] = True

    filled = impute(ramp * ~missing, missing, noise=0.0, tolerance=1e-12)

    np.testing.assert_allclose(filled, ramp, atol=1e-8)


def plainly_solved(image: np.ndarray, missing: np.ndarray, neighbours: Any) -> np.ndarray:
    """Fill holes with one dense linear system, written voxel by voxel."""
    voxels = [tuple(v) for v in np.argwhere(missing)]
    at = {voxel: index for index, voxel in enumerate(voxels)}
    matrix, right = np.zeros((len(voxels), len(voxels))), np.zeros(len(voxels))
    for voxel, row in at.items():
        for step, weight in neighbours:
            for sign in (1, -1):
                other = tuple(v + sign * s for v, s in zip(voxel, step, strict=True))
                if any(not 0 <= o < n for o, n in zip(other, missing.shape, strict=True)):
                    continue
                matrix[row, row] += weight
                if other in at:
                    matrix[row, at[other]] -= weight
                else:
                    right[row] += weight * image[other]
    filled = image.copy()
    filled[missing] = np.linalg.solve(matrix, right)
    return filled


@pytest.mark.parametrize(
    ("shape", "neighbours"), [((4, 5, 6), FACES), ((1, 8, 9), CORNERS_AND_FACES)]
)
def test_imputing_solves_the_linear_system_of_a_plain_loop(
    shape: tuple[int, int, int], neighbours: Any
) -> None:
    rng = np.random.default_rng(3)
    image, missing = rng.normal(size=shape), rng.random(shape) < 0.7

    filled = impute(image[None], missing, noise=0.0, tolerance=1e-13, neighbours=neighbours)

    np.testing.assert_allclose(filled[0], plainly_solved(image, missing, neighbours), atol=1e-9)


def test_known_voxels_stay_and_filled_ones_are_noisy() -> None:
    image = np.random.default_rng(4).normal(size=(2, 6, 7, 8)).astype(np.float32)
    missing = np.zeros((6, 7, 8), dtype=bool)
    missing[1:4, 2:5, 3:6] = True

    quiet = impute(image, missing, noise=0.0)
    noisy = impute(image, missing, noise=0.1, rng=np.random.default_rng(5))

    np.testing.assert_array_equal(noisy[:, ~missing], image[:, ~missing])
    spread = (noisy - quiet)[:, missing].std() / image.std()
    assert 0.05 < spread < 0.2


def test_an_image_without_a_known_voxel_becomes_its_mean() -> None:
    image = np.arange(24.0).reshape(1, 2, 3, 4)

    filled = impute(image, np.ones((2, 3, 4), dtype=bool), noise=0.0)

    np.testing.assert_allclose(filled, image.mean())


def test_every_voxel_belongs_to_the_nearest_cell() -> None:
    heat = Heat(np.arange(24.0).reshape(2, 3, 4), (4.0, 3.0, 2.0), (1.5, 1.0, 0.0))

    values = heat.at_voxels((8, 9, 7))

    for d, h, w in itertools.product(range(8), range(9), range(7)):
        cells = [
            min(range(n), key=lambda u: (abs(at - (o + s * u)), -u))
            for n, at, o, s in zip((2, 3, 4), (d, h, w), heat.offset, heat.stride, strict=True)
        ]
        assert values[d, h, w] == heat.values[tuple(cells)]


def test_blocks_leave_out_what_may_not_be_taken() -> None:
    heat = Heat(np.arange(8.0).reshape(2, 2, 2), (2.0, 2.0, 2.0), (0.5, 0.5, 0.5))
    allowed = np.ones((4, 4, 4), dtype=bool)
    allowed[:2, :2, :3] = False
    whole = (slice(0, 4), slice(0, 4), slice(0, 4))

    blocks = Blocks.of(heat, (4, 4, 4), whole, allowed)

    assert list(blocks.cells) == [1, 2, 3, 4, 5, 6, 7]
    assert list(blocks.sizes) == [4, 8, 8, 8, 8, 8, 8]
    gone = blocks.first(descending(-blocks.values(heat), np.random.default_rng(0)), 2)
    np.testing.assert_array_equal(gone[:2, :2, 2:], [[[False, True]] * 2] * 2)
    np.testing.assert_array_equal(gone[:2, 2:, :2], np.ones((2, 2, 2), dtype=bool))
    assert gone.sum() == 4 + 8
