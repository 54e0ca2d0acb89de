"""Pictures of maps: sides, places and values must be those of the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_attnseg.explanation.colours import SIGNED, colours_for
from napari_attnseg.explanation.difference import difference
from napari_attnseg.explanation.film import write_film
from napari_attnseg.explanation.panels import map_caption, panel_figure, write_panels
from napari_attnseg.explanation.slices import PLANES, Scene
from napari_attnseg.volume import GridMismatchError, Volume

OBLIQUE = np.array(
    [[0.95, 0.2, -0.1, 7.0], [-0.2, 0.95, -0.1, -3.0], [0.1, 0.1, 1.1, 11.0], [0, 0, 0, 1]]
)
STRAIGHT = np.diag([1.0, 1.5, 2.0, 1.0])
STORED = ("RAS", "LPI", "SRP", "AIL", "PIR", "LSA")
INFO = {
    "method_title": "HiResCAM", "class_name": "liver", "layer": "decoder2", "run": "012",
    "stride_mm": [4.0, 4.0, 4.0], "weights": "best", "target": {"text": "all liver"},
}  # fmt: skip


def case(affine: np.ndarray = STRAIGHT) -> tuple[Volume, Volume, Volume]:
    """Return an image that says where it is, a map with one bright cell, and labels."""
    shape = (12, 16, 20)
    image = Volume(np.zeros((1, *shape), np.float32), affine)
    places = image.grid.world(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1))
    image = image.replace(data=places[..., 0].astype(np.float32)[None])  # brighter to the right
    low = image.grid.strided((3, 4, 5), (4.0, 4.0, 4.0), (1.5, 1.5, 1.5))
    values = np.zeros((1, 3, 4, 5), np.float32)
    values[0, 2, 3, 4] = 2.5  # superior, anterior, right
    labels = np.zeros((1, *shape), np.uint8)
    labels[0, 8:12, 12:16, 16:20] = 3
    return image, Volume(values, low.affine), Volume(labels, affine)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE])
def test_the_patients_right_is_left_and_the_front_and_the_head_are_on_top(
    stored: str, affine: np.ndarray
) -> None:
    image, heat, labels = (one.reoriented(stored) for one in case(affine))

    scene = Scene.of(image, heat, labels)

    sides = {"left": "R", "right": "L", "top": "S", "bottom": "I"}
    assert scene.letters("axial") == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert scene.letters("coronal") == sides
    assert scene.letters("sagittal") == {**sides, "left": "A", "right": "P"}
    for plane in ("axial", "coronal"):
        rows = scene.image_slice(plane, 5).values
        assert (np.diff(rows, axis=1) < 0).all()  # x falls from the patient's right to the left


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE])
def test_the_map_lies_over_the_voxels_that_its_cells_are_made_of(
    stored: str, affine: np.ndarray
) -> None:
    image, heat, labels = (one.reoriented(stored) for one in case(affine))
    scene = Scene.of(image, heat, labels)
    peak = scene.peak()

    assert scene.labels is not None
    assert scene.labels.data[0][peak] == 3
    for plane, axis in PLANES.items():
        cells, mask = scene.heat_slice(plane, peak[axis]), scene.label_slice(plane, peak[axis])
        assert cells is not None
        assert mask is not None
        bright, inside = edges(cells, cells.values > 0), edges(mask, mask.values > 0)
        np.testing.assert_allclose(bright, inside, atol=1e-6)


def edges(one: Any, mask: np.ndarray) -> list[float]:
    """Return left, right, bottom and top of what a mask of a slice covers, in mm."""
    left, right, bottom, top = one.extent
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    height, width = (bottom - top) / mask.shape[0], (right - left) / mask.shape[1]
    return [
        left + columns[0] * width, left + (columns[-1] + 1) * width,
        top + (rows[-1] + 1) * height, top + rows[0] * height,
    ]  # fmt: skip


def test_a_slice_beyond_the_map_shows_none_of_it() -> None:
    image, heat, _ = case()
    part = heat.replace(data=heat.data[:, 1:])
    part = Volume(part.data, heat.grid.cropped((1, 0, 0), part.data.shape[1:]).affine)

    scene = Scene.of(image, part)

    assert scene.heat_slice("axial", 0) is not None  # superior
    assert scene.heat_slice("axial", 11) is None


def test_labels_of_another_grid_are_refused() -> None:
    image, heat, labels = case()

    with pytest.raises(GridMismatchError):
        Scene.of(image, heat, labels.replace(data=labels.data[:, 1:]))


def test_signed_maps_have_limits_alike_on_both_sides_and_a_clear_zero() -> None:
    values = np.array([-1.0, 0.0, 4.0, np.nan])

    found = colours_for(values, {})

    assert (found.low, found.high) == (-4.0, 4.0)
    assert found(values)[1, 3] == 0.0
    assert found(values)[3, 3] == 0.0
    np.testing.assert_allclose(found(np.array([4.0, -4.0])), SIGNED[[-1, 0]])


def test_gates_are_shown_within_their_bounds_whatever_their_values() -> None:
    found = colours_for(np.array([0.48, 0.53]), {"bounds": [0.0, 1.0]})

    assert (found.low, found.high) == (0.0, 1.0)


def test_a_map_of_zeros_has_colours_too() -> None:
    found = colours_for(np.zeros((2, 3)), {})

    assert np.isfinite(found(np.zeros((2, 3)))).all()


def test_the_caption_names_method_layer_cells_target_and_weights() -> None:
    text = map_caption(INFO)

    for word in ("HiResCAM", "decoder2", "4 x 4 x 4 mm", "all liver", "012", "best"):
        assert word in text


def test_panels_are_a_picture_with_three_planes_for_each_row(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    image, heat, labels = case(OBLIQUE)

    figure = panel_figure(image, [(heat, INFO), (heat, INFO)], labels, value=3, title="case")
    path = write_panels(tmp_path / "new" / "case.png", figure, dpi=40)

    assert len(figure.axes) == 4 * 4  # per map two rows of three planes and a colour bar
    ticks = [text.get_text() for text in figure.axes[3].get_yticklabels()]
    assert ticks == ["0", "1.25", "2.5"]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("RGB")).std() > 5


@pytest.mark.parametrize("plane", PLANES)
def test_a_film_has_a_frame_for_every_slice(tmp_path: Path, plane: str) -> None:
    image, heat, labels = case()

    path = write_film(tmp_path / "case.gif", image, heat, INFO, labels, plane=plane)

    with Image.open(path) as film:
        assert film.n_frames == (12, 16, 20)[PLANES[plane]]


def test_a_film_shows_the_map_where_it_is(tmp_path: Path) -> None:
    image, heat, _ = case()
    flat = image.replace(data=np.zeros_like(image.data))

    path = write_film(tmp_path / "case.gif", flat, heat, INFO)

    with Image.open(path) as film:
        film.seek(11)  # the last axial frame is the highest slice
        top = np.asarray(film.convert("RGB")).astype(int)
        film.seek(0)
        low = np.asarray(film.convert("RGB")).astype(int)
    orange = (top[..., 0] - top[..., 2] > 60)[22:-70, 22:-80]
    rows, columns = np.nonzero(orange)
    height, width = orange.shape
    # Anterior right: above the middle and on the left side.
    assert rows.max() < height / 2
    assert columns.max() < width / 2
    assert not (low[..., 0] - low[..., 2] > 60)[22:-70, 22:-80].any()


def record(**changes: Any) -> dict[str, Any]:
    spec = {"class": 1, "kind": "class"}
    return {
        "run": "001", "method": "grad-cam", "layer": "decoder2", "class": 1, "options": {},
        "weights": "best", "target": {"spec": spec}, **changes,
    }  # fmt: skip


def test_best_and_last_weights_are_compared_in_raw_values() -> None:
    _, heat, _ = case(OBLIQUE)
    other = heat.replace(data=3 * heat.data + 1)

    found = difference(heat, other, (record(), record(weights="last")))

    assert found.info["units"] == "raw"
    np.testing.assert_allclose(found.map.data, other.data - heat.data, atol=1e-6)
    assert found.info["correlation"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "change", [{"method": "hires-cam"}, {"layer": "decoder1"}, {"run": "002"}, {"class": 2}]
)
def test_maps_in_other_units_are_divided_by_their_own_size(change: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    _, heat, _ = case()
    heat = heat.replace(data=rng.normal(size=heat.data.shape).astype(np.float32))

    found = difference(heat, heat.replace(data=1000 * heat.data), (record(), record(**change)))

    assert found.info["units"] == "scaled"
    np.testing.assert_allclose(found.map.data, 0.0, atol=1e-5)


def test_maps_of_other_layers_are_compared_at_the_places_that_they_share() -> None:
    image, _, _ = case(OBLIQUE)
    grids = [
        image.grid.strided((3, 4, 5), (4.0, 4.0, 4.0), (1.5, 1.5, 1.5)),
        image.grid.strided((6, 8, 10), (2.0, 2.0, 2.0), (0.5, 0.5, 0.5)),
    ]
    ramps = []
    for grid in grids:
        cells = np.stack(np.meshgrid(*map(np.arange, grid.shape_dhw), indexing="ij"), -1)
        values = grid.world(cells)[..., 1].astype(np.float32)
        ramps.append(Volume(values[None], grid.affine).reoriented("PIL"))

    found = difference(ramps[0], ramps[1], (record(), record()))

    fine = found.map.parallel_to(grids[1])
    assert grids[1].difference(fine.grid) is None
    inner = fine.data[0, 1:-1, 1:-1, 1:-1]  # beyond the outermost cells the coarse map is flat
    np.testing.assert_allclose(inner, 0.0, atol=1e-4)
