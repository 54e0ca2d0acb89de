"""The attention browser in a real viewer: strips, curves, boxes, clicks and effects."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import write_volume
from napari_attnseg.volume import Volume, display_scale

pytestmark = pytest.mark.gui

Settled = Callable[[], None]
EDGES = [(a, b) for a, b in itertools.combinations(range(8), 2) if (a ^ b) in (1, 2, 4)]
KEYS = [False, True, True, False, False]
NAMES = {
    "channel": "encoder0.se.channel",
    "spatial": "encoder0.cbam.spatial",
    "slice": "encoder1.pam.slice",
    "radix": "encoder0.split.radix",
    "affinity": "bottleneck.dual.affinity",
    "transform": "input.stn.transform",
    "position": "bottleneck.dual.position",
}


@pytest.fixture
def looked(
    opened: Workbench, runner: Any, make_run: Any, settled: Settled, qtbot: Any, tmp_path: Path
) -> Workbench:
    """A case is open, and one attention map of each kind has been recorded."""
    make_run()
    opened.bench.open_case("case_002")
    settled()
    opened.show_panel("Explain")
    panel = opened.panel("Explain")
    panel.attention_button.click()
    info = {
        "kind": "attention",
        "numbers": numbers(opened, tmp_path),
        "curves": [curve()],
        "boxes": [sampled(opened)],
        "on_demand": [NAMES["position"]],
    }
    runner.last("explain").send("map", path=None, info=info)
    runner.last("explain").finish(maps=1)
    qtbot.waitUntil(lambda: bool(panel.rows))
    return opened


def numbers(workbench: Workbench, folder: Path) -> dict[str, Any]:
    image = workbench.session.cases.case.image
    gate = image.grid.strided((5, 6, 7), (2, 2, 2), (0.5, 0.5, 0.5))
    values = np.linspace(0.48, 0.54, 210, dtype=np.float32).reshape(1, 5, 6, 7)
    path = write_volume(folder / "gate.nii.gz", Volume(values, gate.affine))
    about = {"layer": "encoder0", "bounds": [0, 1], "stride_mm": [4, 3, 2]}
    return {
        NAMES["channel"]: {"kind": "channel", "mean": [0.2, 0.9, 0.5]},
        NAMES["spatial"]: {"kind": "spatial", "path": str(path), **about},
        NAMES["slice"]: {"kind": "slice", "path": str(path), **about},
        NAMES["radix"]: {"kind": "radix", "mean": [[0.3, 0.4], [0.7, 0.6]]},
        NAMES["affinity"]: {"kind": "affinity", "mean": [[0.9, 0.1], [0.2, 0.8]]},
        NAMES["transform"]: {"kind": "transform", "mean": [[1, 0, 0, 0]]},
    }


def curve() -> dict[str, Any]:
    return {
        "name": NAMES["slice"],
        "kind": "slice",
        "axis": 0,
        "image_slice": [0.5, 2.5, 4.5, 6.5, 8.5],
        "mean": [0.1, 0.8, 0.7, 0.3, 0.2],
        "bounds": [0, 1],
        "key": KEYS,
    }


def sampled(workbench: Workbench) -> dict[str, Any]:
    grid = workbench.session.cases.case.image.grid
    corners = np.array(list(itertools.product((2, 7), (3, 8), (4, 11))))
    return {
        "name": NAMES["transform"],
        "weight": 1.0,
        "corners_ras": grid.world(corners).tolist(),
        "edges": EDGES,
        "whole_ras": grid.corners().tolist(),
        "scale": 0.5,
    }


def row(workbench: Workbench, kind: str) -> Any:
    return next(one for one in workbench.panel("Explain").rows if one.item.kind == kind)


def middle_click(workbench: Workbench, qtbot: Any) -> np.ndarray:
    """Click in the middle of the canvas; returns the image's voxel that is there."""
    viewer = workbench.bench.viewer
    native = viewer.window._qt_viewer.canvas.native
    middle = QPoint(native.width() // 2, native.height() // 2)
    qtbot.mouseMove(native, middle)
    qtbot.mouseClick(native, Qt.MouseButton.LeftButton, pos=middle)
    image = viewer.layers["case_002 · MRI"]
    return np.round(image.world_to_data(viewer.cursor.position))


def test_a_click_on_a_channel_asks_for_the_feature_behind_it(
    looked: Workbench, runner: Any
) -> None:
    found = row(looked, "channel")
    assert found.overlay is None
    found.strip.sort(True)
    found.strip.clicked.emit(0, 0)

    settings = runner.last("channel").settings
    assert (settings["name"], settings["channel"]) == (NAMES["channel"], 1)
    assert found.strip.chosen == (0, 0)


def test_hovering_a_channel_says_its_number_and_its_weight(looked: Workbench) -> None:
    strip = row(looked, "channel").strip
    assert strip._say(0, 1, 0.9) == "channel 1: 0.900"
    strip.sort(True)

    assert strip._say(0, 0, 0.9) == "channel 1: 0.900"
    assert strip.limits == (0.0, 1.0)


def test_a_gate_keeps_the_range_from_closed_to_open(looked: Workbench, qtbot: Any) -> None:
    row(looked, "spatial").overlay.click()
    qtbot.waitUntil(lambda: looked.bench.layers.has("map"))

    layer = next(one for one in looked.bench.viewer.layers if "spatial" in one.name)
    assert tuple(layer.contrast_limits) == (0.0, 1.0)
    caption = looked.panel("Explain").shown.caption.text()
    assert caption.startswith("0.48 … 0.54")
    assert "encoder 0 (4 x 3 x 2 mm)" in caption


def test_the_curve_marks_the_slice_that_is_shown_and_a_click_goes_to_another(
    looked: Workbench, qtbot: Any
) -> None:
    found, viewer = row(looked, "slice"), looked.bench.viewer
    scale = display_scale(looked.session.cases.case.image.grid)[0]
    looked.bench.layers.go_to_slice(0, 7)
    step = found.curve.current

    assert step == found.axis.step(7)
    looked.resize(420, 800)
    found.curve.resize(300, 72)
    x = int(found.curve.x_of(found.axis.step(2)))
    qtbot.mouseClick(found.curve, Qt.MouseButton.LeftButton, pos=QPoint(x, 30))
    assert round(viewer.dims.point[0] / scale) == 2
    assert found.curve.current == found.axis.step(2)


def test_a_map_that_is_larger_than_the_image_does_not_move_the_mark(
    looked: Workbench, qtbot: Any
) -> None:
    found, viewer = row(looked, "slice"), looked.bench.viewer
    looked.bench.layers.go_to_slice(0, 7)
    grid = looked.session.cases.case.image.grid
    scale = display_scale(grid)
    viewer.add_image(np.zeros((3, 3, 3)), scale=np.abs(scale) * 8, translate=(-40, -40, -40))

    assert found.curve.current == found.axis.step(7)
    assert found.curve.first + found.curve.current == viewer.dims.current_step[0]


def test_in_another_plane_the_curve_marks_nothing_and_a_click_turns_back(
    looked: Workbench,
) -> None:
    found = row(looked, "slice")
    looked.bench.planes.show("sagittal")
    assert found.curve.current is None
    found.curve.jumped.emit(3)

    assert looked.bench.planes.plane() == found.axis.plane
    assert found.curve.current == 3


def test_key_slices_are_marked_and_named(looked: Workbench) -> None:
    found = row(looked, "slice")

    assert found.curve.keys.tolist() == KEYS
    steps = sorted(round(found.axis.step(place)) for place in (2.5, 4.5))
    text = found.curve.say(found.curve.x_of(steps[0]))
    assert "a key slice" in text


def test_the_branches_of_a_split_share_one_strip(looked: Workbench) -> None:
    strip = row(looked, "radix").strip

    assert strip.values.tolist() == [[0.3, 0.4], [0.7, 0.6]]
    assert strip._say(1, 0, 0.7) == "branch 2, channel 0: 0.700"


def test_a_row_of_channel_affinities_asks_for_its_mixed_feature(
    looked: Workbench, runner: Any
) -> None:
    row(looked, "affinity").strip.clicked.emit(1, 0)

    settings = runner.last("channel").settings
    assert (settings["name"], settings["channel"]) == (NAMES["affinity"], 1)


def test_the_sampled_box_is_drawn_where_it_cuts_the_slice(looked: Workbench) -> None:
    looked.bench.layers.go_to_slice(0, 5)
    steps = looked.bench.viewer.dims.nsteps
    row(looked, "transform").draw.click()

    layer = looked.bench.viewer.layers["sampled box"]
    _, box = layer.data
    assert (box[:, 0] == 5).all()
    assert {tuple(one) for one in box[:, 1:]} == {(3, 4), (3, 11), (8, 4), (8, 11)}
    assert looked.bench.viewer.dims.nsteps[0] == steps[0]
    looked.bench.layers.go_to_slice(0, 9)
    assert len(layer.data) == 1
    row(looked, "transform").draw.click()
    assert "sampled box" not in looked.bench.viewer.layers


def test_a_clicked_voxel_is_asked_what_it_attends_to_until_the_mode_ends(
    looked: Workbench, runner: Any, qtbot: Any
) -> None:
    found, panel = row(looked, "position"), looked.panel("Explain")
    found.click.click()
    assert found.click.isChecked()
    voxel = middle_click(looked, qtbot)

    settings = runner.last("attend").settings
    expected = looked.session.cases.case.image.grid.world(voxel)
    assert np.allclose(settings["at"], expected)
    assert (settings["name"], settings["direction"]) == (NAMES["position"], "row")
    mark = looked.bench.viewer.layers["clicked voxel"]
    assert np.array_equal(mark.data[0], voxel)
    panel.picker.stop()
    assert not found.click.isChecked()
    assert not panel.picker.is_on


def test_who_attends_to_a_voxel_is_the_column(looked: Workbench, runner: Any, qtbot: Any) -> None:
    found = row(looked, "position")
    found.column_button.setChecked(True)
    found.click.click()
    middle_click(looked, qtbot)

    assert runner.last("attend").settings["direction"] == "column"


def test_attention_that_is_not_used_is_grey_and_says_so(
    looked: Workbench, runner: Any, qtbot: Any, tmp_path: Path
) -> None:
    found = row(looked, "position")
    found.click.click()
    middle_click(looked, qtbot)
    image = looked.session.cases.case.image
    values = np.full((1, *image.shape_dhw), 1e-4, dtype=np.float32)
    path = write_volume(tmp_path / "row.nii.gz", Volume(values, image.affine))
    remark = "The network hardly uses this module."
    info = {
        "kind": "attend",
        "direction": "row",
        "name": NAMES["position"],
        "unused": True,
        "remarks": [remark],
        "caption": "what it attends to",
    }
    runner.last("attend").send("map", path=str(path), info=info)
    runner.last("attend").finish(maps=1)
    qtbot.waitUntil(lambda: looked.bench.layers.has("map"))

    layer = next(one for one in looked.bench.viewer.layers if "attends to" in one.name)
    assert layer.colormap.name == "attnseg unused"
    assert np.isclose(layer.contrast_limits[1], 1e-4)
    assert remark in looked.panel("Explain").shown.remarks.text()


def test_modules_are_ranked_by_their_effect_with_a_caution(
    looked: Workbench, runner: Any, qtbot: Any
) -> None:
    panel = looked.panel("Explain").browser
    panel.effects.button.click()
    sites = [
        {"site": name, "layer": name, "attention": "se", "effect": effect, "unused": effect < 0.01}
        for name, effect in (("encoder0", 0.001), ("encoder1", 0.03))
    ]
    runner.last("effects").send("effects", sites=sites)
    qtbot.waitUntil(lambda: bool(panel.table.table.keys))

    assert panel.table.table.keys == ["encoder1", "encoder0"]
    assert "(unused)" in panel.table.table.text(1, 0)
    assert "not proof of importance" in panel.note.text()


def test_another_case_starts_without_rows(looked: Workbench, settled: Settled) -> None:
    row(looked, "transform").draw.click()
    looked.bench.open_case("case_003")
    settled()

    assert looked.panel("Explain").rows == []
    assert [one.name for one in looked.bench.viewer.layers] == [
        "case_003 · MRI",
        "case_003 · labels",
    ]


def test_the_browser_fits_a_narrow_dock(looked: Workbench, qtbot: Any) -> None:
    looked.resize(380, 720)
    qtbot.wait(20)

    # Of 380 pixels, margins and the bar that scrolls up and down leave these.
    assert looked.panel("Explain").minimumSizeHint().width() <= 352
