from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_attnseg.gui import npe2_reader, npe2_writer
from napari_attnseg.gui.viewer.facts import KEY, LayerFacts, facts_of, label_values_on
from napari_attnseg.gui.viewer.layer_store import LayerStore
from napari_attnseg.gui.viewer.place import place_words
from napari_attnseg.gui.viewer.planes import edge_letters, plane_order
from napari_attnseg.gui.viewer.volume_layers import NoPlaceError, volume_layers, volume_of_labels
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.volume import Grid, Volume, display_scale

SHAPE = (6, 8, 10)


def oriented(letters: str) -> np.ndarray:
    base = Grid(SHAPE, np.diag([0.5, 1.0, 2.0, 1.0])).reoriented(letters)
    return np.array(base.affine)


ORIENTATIONS = [
    "".join(letters)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*order)
]


def turned() -> np.ndarray:
    angle = 0.3
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine @ np.diag([0.5, 1.0, 2.0, 1.0])


def image_file(folder: Path, affine: np.ndarray) -> Path:
    noise = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    return write_volume(folder / "image.nii.gz", Volume(noise, affine))


def opened(viewer: ViewerModel, path: Path) -> list[Any]:
    layers = [
        {"image": Image, "labels": Labels}[kind](data, **attributes)
        for data, attributes, kind in npe2_reader.read(str(path))
    ]
    viewer.layers.extend(layers)
    return layers


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> ViewerModel:
    model = ViewerModel()
    monkeypatch.setattr(napari, "current_viewer", lambda: model)
    return model


@pytest.mark.parametrize(
    "affine", [*map(oriented, ORIENTATIONS), turned()], ids=[*ORIENTATIONS, "oblique"]
)
def test_labels_painted_in_napari_are_saved_on_the_grid_of_the_image(
    viewer: ViewerModel, tmp_path: Path, affine: np.ndarray
) -> None:
    source = image_file(tmp_path, affine)
    (image,) = opened(viewer, source)
    viewer.layers.selection.active = image
    viewer._new_labels()
    labels = viewer.layers[-1]
    marked = image.world_to_data(image.data_to_world((1, 2, 3)))
    at = tuple(np.round(labels.world_to_data(image.data_to_world(marked))).astype(int))
    labels.data[at] = 2

    data, attributes, _ = labels.as_layer_data_tuple()
    (written,) = npe2_writer.write_labels(str(tmp_path / "mask.nii.gz"), data, attributes)

    found, original = read_volume(written), read_volume(source)
    assert found.grid.difference(original.grid) is None
    assert np.argwhere(found.data[0] == 2).tolist() == [[1, 2, 3]]


def test_labels_without_an_image_are_refused(viewer: ViewerModel, tmp_path: Path) -> None:
    layer = Labels(np.ones(SHAPE, dtype=np.uint8))

    with pytest.raises(NoPlaceError, match="no image"):
        npe2_writer.write_labels(str(tmp_path / "mask.nii"), *layer.as_layer_data_tuple()[:2])

    assert not (tmp_path / "mask.nii").exists()


def test_labels_that_fit_two_images_are_refused_until_one_is_selected(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    (first,) = opened(viewer, image_file(tmp_path, oriented("RAS")))
    elsewhere = oriented("RAS")
    elsewhere[:3, 3] += 5
    opened(viewer, image_file(tmp_path, elsewhere))
    layer = Labels(np.ones(SHAPE, dtype=np.uint8), scale=first.scale)
    data, attributes, _ = layer.as_layer_data_tuple()

    viewer.layers.selection.clear()
    with pytest.raises(NoPlaceError, match="2 images"):
        volume_of_labels(data, attributes, viewer)
    viewer.layers.selection = {first}
    volume = volume_of_labels(data, attributes, viewer)

    assert np.allclose(volume.affine, oriented("RAS"))


def test_labels_that_were_moved_are_refused(viewer: ViewerModel, tmp_path: Path) -> None:
    (image,) = opened(viewer, image_file(tmp_path, oriented("LPS")))
    layer = Labels(
        np.ones(SHAPE, dtype=np.uint8),
        scale=image.scale,
        translate=(1, 0, 0),
        metadata=image.metadata,
    )

    with pytest.raises(NoPlaceError, match="not those of"):
        volume_of_labels(*layer.as_layer_data_tuple()[:2], viewer)


def test_a_mask_opens_as_labels_with_its_class_names(viewer: ViewerModel, tmp_path: Path) -> None:
    data = np.zeros((1, *SHAPE), dtype=np.uint8)
    data[0, 1:4, 2:6, 3:7] = 2
    mask = Volume(data, oriented("RAS"), classes={2: "kidney"})
    path = write_volume(tmp_path / "mask.nii.gz", mask)

    (layer,) = opened(viewer, path)

    assert isinstance(layer, Labels)
    assert "kidney" in list(layer.features["class"])
    assert facts_of(layer).role == "labels"


def test_channels_open_as_one_image_each(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)

    layers = volume_layers(Volume(data, np.eye(4), channels=("T1", "T2", "FLAIR")), "brain")

    assert [attributes["name"] for _, attributes, _ in layers] == [
        "brain · T1",
        "brain · T2",
        "brain · FLAIR",
    ]


@pytest.mark.parametrize("letters", ORIENTATIONS)
def test_letters_at_the_edges_are_true_for_every_storage_order(letters: str) -> None:
    grid = Grid(SHAPE, np.eye(4)).reoriented(letters)
    scale = np.array(display_scale(grid))

    for plane in ("axial", "sagittal", "coronal"):
        order = plane_order(grid, plane)
        left, right, top, bottom = edge_letters(grid, order[1:])
        for axis, low, high in ((order[2], left, right), (order[1], top, bottom)):
            ends = np.zeros((2, 3))
            ends[1, axis] = 1
            first, second = grid.world(ends) if scale[axis] > 0 else grid.world(ends)[::-1]
            direction = second - first
            where = {
                "R": (0, 1),
                "L": (0, -1),
                "A": (1, 1),
                "P": (1, -1),
                "S": (2, 1),
                "I": (2, -1),
            }
            world_axis, sign = where[high]
            assert direction[world_axis] * sign > 0
            assert where[low][0] == world_axis


def test_axial_scrolls_from_head_to_foot_with_the_patients_right_at_the_left() -> None:
    grid = Grid(SHAPE, np.eye(4))

    assert plane_order(grid, "axial") == (0, 1, 2)
    assert edge_letters(grid, (1, 2)) == ("R", "L", "A", "P")


def test_the_cursor_is_told_in_ras_millimetres() -> None:
    affine = oriented("LPS")
    affine[:3, 3] = (10, -20, 30)
    grid = Grid(SHAPE, affine)
    scale = np.array(display_scale(grid))

    words = place_words(grid, tuple(scale * (2, 3, 4)))

    x, y, z = grid.world(np.array([2, 3, 4]))
    assert words == f"R {x:.1f}  P {-y:.1f}  S {z:.1f}"


def test_values_of_a_layer_that_runs_backwards_are_turned() -> None:
    grid = Grid(SHAPE, np.eye(4))
    data = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 7
    start = -(np.array(SHAPE) - 1.0)
    layer = Labels(data, scale=(1, 1, 1), translate=start)

    values = label_values_on(layer, grid)

    assert values is not None
    assert (values == data[::-1, ::-1, ::-1]).all()


@pytest.mark.gui
def test_another_map_in_the_place_of_the_last_one_leaves_the_slice_that_is_shown(
    make_napari_viewer: Any,
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((30, 8, 10)), scale=(-5, 1, 2))
    store = LayerStore(viewer)
    store.case_name = "case"

    def put(size: tuple[int, int, int], scale: tuple[float, float, float]) -> None:
        volume = Volume(np.zeros((1, *size)), np.eye(4))
        facts = LayerFacts("map", volume, volume.grid, case="case")
        store.put(Image, volume.data[0], {"scale": scale, "metadata": {KEY: facts}}, "map")

    put((8, 2, 3), (-20, 4, 8))
    viewer.dims.set_point(0, -100)
    put((30, 8, 10), (-5, 1, 2))
    put((4, 2, 3), (-20, 4, 8))

    assert viewer.dims.point[0] == -100
