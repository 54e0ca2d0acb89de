"""The geometry of grids and volumes, in every storage order, straight and oblique."""

from __future__ import annotations

import copy
import itertools

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_attnseg.volume import (
    Grid,
    GridMismatchError,
    Storage,
    Volume,
    affine_for_itk,
    display_place,
    display_scale,
    require_same_grid,
)

SHAPE = (5, 7, 9)
ORIENTATIONS = sorted(
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
)
TURNS = {"straight": (0.0, 0.0, 0.0), "oblique": (11.0, -7.0, 19.0), "steep": (-24.0, 14.0, 9.0)}


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    x, y, z = np.radians(degrees)
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return np.array(about_x) @ np.array(about_y) @ np.array(about_z)


def affine_of(orientation: str, turn: str = "straight") -> np.ndarray:
    """Return an affine with voxels of 0.7 x 1.3 x 2.9 mm whose axes grow as three letters say."""
    affine = np.eye(4)
    for axis, (letter, mm) in enumerate(zip(orientation, (0.7, 1.3, 2.9), strict=True)):
        world = next(n for n, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[:3, axis] = 0
        affine[world, axis] = mm if letter in "RAS" else -mm
    affine[:3, :3] = rotation(TURNS[turn]) @ affine[:3, :3]
    affine[:3, 3] = (-31.5, 12.25, 140.0)
    return affine


every_order = pytest.mark.parametrize("orientation", ORIENTATIONS)
every_turn = pytest.mark.parametrize("turn", TURNS)


def volume_of(orientation: str, turn: str) -> Volume:
    data = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(1, *SHAPE)
    return Volume(data, affine_of(orientation, turn))


def voxels(grid: Grid) -> np.ndarray:
    """Return all voxel coordinates along D, H, W, one a row."""
    return np.stack(np.indices(grid.shape_dhw), axis=-1).reshape(-1, 3)


def by_place(volume: Volume) -> dict[tuple[float, ...], int]:
    """Return the value at each world position, which no change of storage may touch."""
    places = volume.grid.world(voxels(volume.grid)).round(4) + 0.0
    return dict(zip(map(tuple, places), volume.data.ravel().tolist(), strict=True))


@every_order
@every_turn
def test_world_is_the_affine_applied_to_i_j_k(orientation, turn):
    grid = Grid(SHAPE, affine_of(orientation, turn))

    place = grid.world(np.array([4, 2, 3]))

    assert np.allclose(place, (grid.affine @ [3, 2, 4, 1])[:3])


@every_order
@every_turn
def test_voxel_undoes_world(orientation, turn):
    grid = Grid(SHAPE, affine_of(orientation, turn))

    assert np.allclose(grid.voxel(grid.world(voxels(grid))), voxels(grid))


@every_order
def test_orientation_and_spacing_come_from_the_affine(orientation):
    grid = Grid(SHAPE, affine_of(orientation))

    assert grid.orientation == orientation
    assert np.allclose(grid.spacing_dhw, (2.9, 1.3, 0.7))
    assert not grid.is_oblique


@every_turn
def test_an_oblique_grid_says_so(turn):
    assert Grid(SHAPE, affine_of("RAS", turn)).is_oblique == (turn != "straight")


@every_order
@every_turn
def test_reorienting_keeps_every_voxel_at_its_place(orientation, turn):
    volume = volume_of(orientation, turn)

    for target in ("RAS", "LPS", "PIR", "SLA"):
        moved = volume.reoriented(target)

        assert moved.orientation == target
        assert by_place(moved) == by_place(volume)


@every_order
@every_turn
def test_reorienting_forth_and_back_changes_nothing(orientation, turn):
    volume = volume_of("RAS", turn)

    back = volume.reoriented(orientation).reoriented("RAS")

    assert np.array_equal(back.data, volume.data)
    assert np.allclose(back.affine, volume.affine, atol=1e-9)


@every_order
def test_a_grid_reorients_as_its_volume_does(orientation):
    volume = volume_of("PIR", "oblique")

    grid = volume.grid.reoriented(orientation)

    assert volume.reoriented(orientation).grid.difference(grid) is None


@every_order
def test_reorienting_agrees_with_nibabel(orientation):
    volume = volume_of(orientation, "oblique")
    image = nib.Nifti1Image(volume.data[0].transpose(2, 1, 0), volume.affine)

    closest = nib.as_closest_canonical(image)
    moved = volume.reoriented("RAS")

    assert np.array_equal(moved.data[0].transpose(2, 1, 0), np.asanyarray(closest.dataobj))
    assert np.allclose(moved.affine, closest.affine)


def test_reorienting_keeps_channels_apart():
    data = np.stack([np.full(SHAPE, 1), np.full(SHAPE, 2)])

    moved = Volume(data, affine_of("RAS")).reoriented("SLP")

    assert moved.data.shape[0] == 2
    assert (moved.data[0] == 1).all()
    assert (moved.data[1] == 2).all()


@every_order
@every_turn
def test_a_crop_keeps_its_voxels_at_their_places(orientation, turn):
    volume = volume_of(orientation, turn)

    grid = volume.grid.cropped((1, 2, 3), (2, 3, 4))
    crop = Volume(volume.data[:, 1:3, 2:5, 3:7], grid.affine)

    assert grid.shape_dhw == (2, 3, 4)
    assert by_place(crop).items() <= by_place(volume).items()


def test_a_crop_with_a_negative_start_pads():
    grid = Grid(SHAPE, affine_of("LIP", "oblique"))

    padded = grid.cropped((-2, -1, 0), (9, 9, 9))

    assert np.allclose(padded.world(np.array([2, 1, 0])), grid.world(np.array([0, 0, 0])))


@every_order
@every_turn
def test_a_resized_grid_covers_the_same_box(orientation, turn):
    grid = Grid(SHAPE, affine_of(orientation, turn))

    other = grid.resized((3, 11, 4))

    for corner in itertools.product((0, 1), repeat=3):
        edges = [np.array(corner) * one.shape_dhw - 0.5 for one in (grid, other)]
        assert np.allclose(grid.world(edges[0]), other.world(edges[1]))


def test_resizing_there_and_back_changes_nothing():
    grid = Grid(SHAPE, affine_of("PSR", "steep"))

    back = grid.resized((3, 11, 4)).resized(SHAPE)

    assert np.allclose(back.affine, grid.affine)


@every_order
@every_turn
def test_a_strided_grid_lies_at_offset_plus_stride(orientation, turn):
    grid = Grid(SHAPE, affine_of(orientation, turn))

    coarse = grid.strided((2, 3, 4), (2.0, 2.0, 2.0), (0.5, -1.0, 0.25))

    place = grid.world(np.array([0.5 + 2, -1.0 + 4, 0.25 + 6]))
    assert np.allclose(coarse.world(np.array([1, 2, 3])), place)


@every_order
@every_turn
def test_a_grid_does_not_differ_from_itself_through_float32(orientation, turn):
    grid = Grid(SHAPE, affine_of(orientation, turn))

    assert grid.difference(Grid(SHAPE, grid.affine.astype(np.float32))) is None


@every_order
def test_a_shift_of_a_tenth_of_a_voxel_is_a_difference(orientation):
    grid = Grid(SHAPE, affine_of(orientation, "oblique"))

    moved = grid.strided(SHAPE, (1, 1, 1), (0.0, 0.0, 0.1))

    assert "positions differ" in grid.difference(moved)


def test_differences_are_named_for_what_they_are():
    grid = Grid(SHAPE, affine_of("RAS"))
    flipped = grid.reoriented("LAS")
    coarse = Grid(SHAPE, grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0]))
    low = affine_of("RAS")
    low[2, 3] -= 5

    assert grid.difference(Grid((5, 7, 8), grid.affine)).startswith("the sizes are 5 x 7 x 9")
    assert "orders RAS and LAS" in grid.difference(flipped)
    assert "voxel sizes are 2.9 x 1.3 x 0.7 and 5.8 x 2.6 x 1.4 mm" in grid.difference(coarse)
    assert "-5.00 mm superior" in grid.difference(Grid(SHAPE, low))


def test_a_mismatch_names_both_volumes_and_what_to_do():
    grid = Grid(SHAPE, affine_of("RAS"))

    with pytest.raises(GridMismatchError, match=r"The mask and the image .* Resample"):
        require_same_grid(grid, grid.resized((3, 3, 3)), names=("mask", "image"))


@every_order
@every_turn
def test_a_displayed_volume_has_superior_and_anterior_up_and_right_on_the_left(orientation, turn):
    grid = Grid(SHAPE, affine_of(orientation, turn))

    scale = display_scale(grid)

    for axis, (mm, letter) in enumerate(zip(scale, grid.orientation[::-1], strict=True)):
        assert (mm < 0) == (letter in "RAS")
        assert np.isclose(abs(mm), grid.spacing_dhw[axis])


@every_order
@every_turn
def test_a_coarse_grid_is_shown_where_it_lies_in_the_reference(orientation, turn):
    reference = Grid(SHAPE, affine_of(orientation, turn))
    coarse = reference.strided((2, 3, 4), (2.0, 2.5, 2.0), (0.5, 0.75, 0.5))

    scale, translate = display_place(coarse, reference)

    for voxel in voxels(coarse):
        shown = np.array(scale) * voxel + translate
        in_reference = reference.voxel(coarse.world(voxel))
        assert np.allclose(shown, np.array(display_scale(reference)) * in_reference)


def test_a_grid_shown_over_itself_is_not_moved():
    grid = Grid(SHAPE, affine_of("PIR", "steep"))

    scale, translate = display_place(grid, grid)

    assert np.allclose(scale, display_scale(grid))
    assert np.allclose(translate, 0)


@pytest.mark.parametrize("other", [affine_of("RAS", "oblique"), affine_of("ARS")])
def test_a_grid_turned_against_the_reference_is_not_shown_over_it(other):
    with pytest.raises(GridMismatchError, match="turned"):
        display_place(Grid(SHAPE, other), Grid(SHAPE, affine_of("RAS")))


def test_the_affine_for_itk_negates_right_and_anterior_and_is_its_own_inverse():
    affine = affine_of("PIR", "oblique")

    lps = affine_for_itk(affine)

    assert np.allclose(lps[:2], -affine[:2])
    assert np.allclose(lps[2], affine[2])
    assert np.allclose(affine_for_itk(lps), affine)


def test_the_volume_of_a_voxel_counts_shear():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[0, 1] = 1.0

    assert np.isclose(Grid(SHAPE, affine).voxel_volume_ml, 0.024)


def test_voxels_of_nanometres_are_a_grid():
    grid = Grid(SHAPE, np.diag([4e-6, 4e-6, 4e-5, 1.0]))

    assert np.allclose(grid.spacing_dhw, (4e-5, 4e-6, 4e-6))


@pytest.mark.parametrize(
    "affine",
    [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.0, 1.0, 0.0, 1.0]), np.eye(3)],
)
def test_an_affine_that_places_nothing_is_refused(affine):
    with pytest.raises(ValueError, match="header is damaged"):
        Grid(SHAPE, affine)


def test_a_mask_on_a_grid_takes_its_storage_facts():
    storage = Storage(ndim=4, dtype="float32", qform=np.eye(4), qform_code=2, sform_code=0)
    image = Volume(np.zeros((2, *SHAPE), np.float32), affine_of("RAS"), storage=storage)

    mask = image.on_grid(np.ones(SHAPE, np.uint8))

    assert mask.storage.dtype == "uint8"
    assert mask.storage.ndim == 3
    assert mask.storage.qform_code == 2


def test_an_array_of_another_size_does_not_fit_a_grid():
    with pytest.raises(GridMismatchError, match="9 x 7 x 5 voxels do not fit"):
        volume_of("RAS", "straight").on_grid(np.zeros(SHAPE[::-1], np.uint8))


def test_a_volume_can_be_copied_whole():
    volume = Volume(np.zeros((1, *SHAPE)), affine_of("RAS"), storage=Storage(), classes={1: "a"})

    twin = copy.deepcopy(volume)

    assert twin.grid.difference(volume.grid) is None
    assert twin.classes == {1: "a"}


def test_the_affine_of_a_volume_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="read-only"):
        volume_of("RAS", "straight").affine[0, 0] = 2


@pytest.mark.parametrize("turns", [(45, 45, 0), (45, 0, 45), (-45, 135, 45), (30, 45, 45)])
def test_half_way_between_two_world_axes_voxels_still_find_back_to_their_grid(turns):
    turn = Rotation.from_euler("xyz", turns, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 2.0, 3.0])
    volume = Volume(np.arange(120.0).reshape(1, 4, 5, 6), affine)

    back = volume.reoriented("RAS").parallel_to(volume.grid)

    assert np.array_equal(back.data, volume.data)
    assert np.allclose(back.affine, volume.affine)
