"""Asking why, in a real viewer: targets, options, colours, checks, comparison, export."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QKeySequence, QShortcut

from napari_attnseg.gui.widgets.options_form import Slide
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.session.checks import check_record
from napari_attnseg.session.files import write_json
from napari_attnseg.volume import Volume

pytestmark = pytest.mark.gui

Settled = Callable[[], None]


@pytest.fixture
def explained(
    opened: Workbench, make_run: Any, settled: Settled, predict_file: Any, qtbot: Any
) -> Workbench:
    """A case with a label is open beside a trained run, with the panel at the front."""
    make_run()
    opened.bench.open_case("case_002")
    settled()
    opened.show_panel("Explain")
    return opened


def panel_of(workbench: Workbench) -> Any:
    return workbench.panel("Explain")


def choose(workbench: Workbench, kind: str) -> None:
    menu = panel_of(workbench).asking.kind
    menu.setCurrentIndex(menu.findData(kind))
    menu.activated.emit(menu.currentIndex())


def click_canvas(workbench: Workbench, qtbot: Any, off: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Click so many pixels right of and below the middle; returns the image's voxel there."""
    viewer = workbench.bench.viewer
    native = viewer.window._qt_viewer.canvas.native
    middle = QPoint(native.width() // 2 + off[0], native.height() // 2 + off[1])
    qtbot.mouseMove(native, middle)
    qtbot.mouseClick(native, Qt.MouseButton.LeftButton, pos=middle)
    image = workbench.bench.viewer.layers["case_002 · MRI"]
    return np.round(image.world_to_data(viewer.cursor.position))


def press_escape(panel: Any) -> None:
    """Do what the key does in a window that is in front, which a hidden one is not."""
    (shortcut,) = [
        one for one in panel.findChildren(QShortcut) if one.key() == QKeySequence("Escape")
    ]
    assert shortcut.isEnabled()
    shortcut.activated.emit()
    assert not shortcut.isEnabled()


def make_map(
    workbench: Workbench, values: np.ndarray | None = None, folder: Path | None = None
) -> Path:
    """Write a map on every second voxel of the open case, with its record."""
    grid = workbench.session.cases.case.image.grid.strided((5, 6, 7), (2, 2, 2), (0.5, 0.5, 0.5))
    if values is None:
        values = np.linspace(-1, 3, 210)
    data = np.asarray(values, dtype=np.float32).reshape(1, 5, 6, 7)
    project = workbench.session.cases.project
    folder = folder or Path(project.predictions_dir("001")) / "maps"
    path = write_volume(folder / "case_002_hires-cam_1_decoder1.nii.gz", Volume(data, grid.affine))
    write_json(path.with_name("case_002_hires-cam_1_decoder1.json"), map_info(path))
    return path


def map_info(path: Path) -> dict[str, Any]:
    return {
        "method": "hires-cam",
        "layer": "decoder1",
        "class": 1,
        "stride_dhw": [2, 2, 2],
        "stride_mm": [4, 3, 2],
        "target": {"kind": "class", "voxels": 90, "spec": {"class": 1, "kind": "class"}},
        "weights": "best",
        "map": path.name,
    }


def show_map(workbench: Workbench, runner: Any, qtbot: Any, path: Path, **info: Any) -> Any:
    panel = panel_of(workbench)
    panel.show_button.click()
    job = runner.last("explain")
    job.send("map", path=str(path), info={**map_info(path), **info})
    job.finish(maps=1)
    explanations = workbench.session.explanations
    qtbot.waitUntil(lambda: explanations.view is not None and explanations.view.path == path)
    qtbot.waitUntil(lambda: workbench.session.background.is_idle)
    return next(one for one in workbench.bench.viewer.layers if "@" in one.name)


@pytest.mark.parametrize("kind", ["component", "voxel"])
def test_a_clicked_place_is_asked_about_where_it_lies_in_the_patient(
    explained: Workbench, runner: Any, qtbot: Any, kind: str
) -> None:
    panel = panel_of(explained)
    choose(explained, kind)
    assert "Click in the image" in panel.show_button.toolTip()
    panel.asking.pick.click()
    voxel = click_canvas(explained, qtbot, (37, -21))
    panel.show_button.click()

    target = runner.last("explain").settings["target"]
    assert target["kind"] == kind
    grid = explained.session.cases.case.image.grid
    assert np.allclose(target["at"], grid.world(voxel))
    assert panel.asking.voxel == tuple(voxel)
    assert not panel.picker.is_on


def test_clicking_a_voxel_paints_nothing_and_escape_gives_the_brush_back(
    explained: Workbench, qtbot: Any
) -> None:
    labels = explained.bench.layers.labels
    before = labels.data.copy()
    explained.bench.viewer.layers.selection.active = labels
    labels.mode = "paint"
    choose(explained, "voxel")
    panel = panel_of(explained)
    panel.asking.pick.click()
    click_canvas(explained, qtbot, (11, 9))
    panel.asking.pick.click()
    hint = explained.bench.viewer.canvas.overlays["attnseg_hint"]
    assert hint.visible
    assert "Esc ends" in hint.text

    press_escape(panel)

    assert np.array_equal(labels.data, before)
    assert labels.mode == "paint"
    assert not hint.visible
    assert explained.bench.viewer.cursor.style != "cross"


def test_a_drawn_region_is_saved_on_the_grid_of_the_image(
    explained: Workbench, runner: Any, settled: Settled
) -> None:
    panel = panel_of(explained)
    choose(explained, "region")
    panel.asking.draw.click()
    layer = explained.bench.viewer.layers["region to explain"]
    layer.data[3:6, 4:8, 5:9] = 1
    panel.show_button.click()
    settled()

    path = runner.last("explain").settings["target"]["region"]
    saved, image = read_volume(path, labels=True), explained.session.cases.case.image
    assert saved.grid.difference(image.grid) is None
    assert np.array_equal(saved.data[0], layer.data)


def test_an_empty_region_is_not_asked_about(explained: Workbench, runner: Any) -> None:
    panel = panel_of(explained)
    choose(explained, "region")
    panel.asking.draw.click()
    panel.show_button.click()

    assert not [job for job in runner.jobs if job.kind == "explain"]


def test_a_region_is_not_offered_as_labels(explained: Workbench) -> None:
    choose(explained, "region")
    panel_of(explained).asking.draw.click()

    assert explained.panel("Cases").correction.take.isHidden()


def test_missed_voxels_are_asked_about_with_the_label_of_the_case(
    explained: Workbench, runner: Any, folder: Path
) -> None:
    choose(explained, "false-negative")
    panel_of(explained).show_button.click()

    target = runner.last("explain").settings["target"]
    assert Path(target["reference"]) == folder / "labelsTr" / "case_002.nii.gz"


def test_errors_are_not_offered_without_a_label(explained: Workbench, settled: Settled) -> None:
    explained.bench.open_case("case_006")
    settled()

    assert panel_of(explained).asking.kind.reason("false-positive") == "This case has no label."


def test_a_class_is_asked_for_against_another(explained: Workbench, runner: Any) -> None:
    panel = panel_of(explained)
    choose(explained, "contrast")
    panel.asking.versus.setCurrentIndex(panel.asking.versus.findData(2))
    panel.show_button.click()

    assert runner.last("explain").settings["target"] == {
        "class": 1,
        "kind": "contrast",
        "versus": 2,
    }


def test_options_of_a_method_are_a_form_and_only_changes_are_sent(
    explained: Workbench, runner: Any
) -> None:
    options = [
        {"name": "pooling", "default": 1, "type": "int", "minimum": 1, "maximum": 9},
        {"name": "mode", "default": "mean", "type": "str", "choices": ["mean", "max"]},
        {"name": "sigma", "default": None, "type": "float"},
    ]
    explained.session.model.choices["methods"][0]["options"] = options
    panel = panel_of(explained)
    explained.session.explanations.changed.emit()
    fields = panel.asking.options.fields
    assert isinstance(fields["pooling"], Slide)
    fields["pooling"].slider.setValue(4)
    fields["sigma"].setText("0.5")
    panel.show_button.click()
    explained.session.model.choices["methods"][0].pop("options")

    assert runner.last("explain").settings["options"] == {"pooling": 4, "sigma": 0.5}


def test_a_method_that_looks_at_the_image_is_asked_for_no_layer(
    explained: Workbench, runner: Any
) -> None:
    panel = panel_of(explained)
    layer = panel.asking.layer
    layer.setCurrentIndex(layer.findData("decoder0"))
    explained.session.model.choices["methods"][0]["space"] = "input"
    explained.session.explanations.changed.emit()
    assert not layer.isEnabled()
    assert "not at a layer" in layer.toolTip()
    panel.show_button.click()
    explained.session.model.choices["methods"][0].pop("space")

    assert runner.last("explain").settings["layer"] is None


def test_a_map_that_is_being_made_shows_the_time_left_and_can_be_stopped(
    explained: Workbench, runner: Any, qtbot: Any
) -> None:
    panel = panel_of(explained)
    panel.show_button.click()
    job = runner.last("explain")
    job.send("progress", done=3, total=12, text="", eta_seconds=40)
    qtbot.waitUntil(lambda: bool(panel.show_job.left.text()))

    assert panel.show_button.text() == "Stop"
    assert panel.show_job.left.text() == "40 s left"
    assert panel.show_job.bar.value() == 250
    panel.show_button.click()
    assert job.is_stopped
    job.finish("STOPPED")
    qtbot.waitUntil(lambda: panel.show_button.text() == "Show")


def test_a_map_is_shown_in_blocks_and_signed_values_are_symmetric_about_zero(
    explained: Workbench, runner: Any, qtbot: Any
) -> None:
    layer = show_map(explained, runner, qtbot, make_map(explained))

    assert str(layer.interpolation2d) == "nearest"
    assert layer.opacity == 0.5
    assert tuple(layer.contrast_limits) == (-3.0, 3.0)
    caption = panel_of(explained).shown.caption.text()
    assert "-1 … 3" in caption
    assert "decoder 1 (each cell 4 x 3 x 2 mm)" in caption
    assert "90 voxels" in caption
    assert "best weights" in caption


def test_small_positive_values_are_not_drowned_by_the_range_of_a_gate(
    explained: Workbench, runner: Any, qtbot: Any
) -> None:
    layer = show_map(explained, runner, qtbot, make_map(explained, np.linspace(0, 1e-3, 210)))

    assert layer.contrast_limits[0] == 0
    assert np.isclose(layer.contrast_limits[1], 1e-3, rtol=1e-5)


def test_limits_can_be_kept_for_the_maps_to_come(
    explained: Workbench, runner: Any, qtbot: Any
) -> None:
    show_map(explained, runner, qtbot, make_map(explained))
    panel_of(explained).shown.lock.setChecked(True)
    other = make_map(
        explained, np.linspace(-9, 9, 210), Path(explained.session.cases.project.path)
    )
    layer = show_map(explained, runner, qtbot, other)

    assert tuple(layer.contrast_limits) == (-3.0, 3.0)


def test_remarks_about_a_map_are_read_with_it(
    explained: Workbench, runner: Any, qtbot: Any
) -> None:
    remark = "The gradient cancels out at decoder1, so this map is rounding noise."
    show_map(explained, runner, qtbot, make_map(explained), remarks=[remark])

    shown = panel_of(explained).shown.remarks
    assert not shown.isHidden()
    assert remark in shown.text()


def test_images_of_a_case_are_ranked_by_what_they_contributed(
    explained: Workbench, runner: Any, qtbot: Any
) -> None:
    found = [
        {"name": "0", "drop": 0.1, "drop_share": 0.25, "gradients_share": 0.4},
        {"name": "FLAIR", "drop": -0.3, "drop_share": 0.75, "gradients_share": 0.6},
    ]
    show_map(explained, runner, qtbot, make_map(explained), modalities=found)

    table = panel_of(explained).shown.modalities
    assert table.keys == ["FLAIR", "MRI"]
    assert table.text(0, 1) == "75 %"


def test_a_check_fills_in_as_it_measures_and_ends_with_a_verdict(
    explained: Workbench, runner: Any, qtbot: Any
) -> None:
    path = make_map(explained)
    show_map(explained, runner, qtbot, path)
    panel = panel_of(explained).check
    panel.quick.button.click()
    job = runner.last("check")
    rows = [
        {"name": "map", "title": "", "value": 0.21, "spread": None},
        {"name": "random", "title": "", "value": 0.01, "spread": 0.02},
        {"name": "oracle", "title": "", "value": 0.29, "spread": None},
    ]
    road = {"title": "ROAD", "value": 0.21, "rows": rows, "curves": [], "sentence": ""}
    job.send("measure", name="road", result=road)
    qtbot.waitUntil(lambda: bool(panel.bars.bars))
    assert panel.verdict.isHidden()
    verdict = {"word": "better", "sentence": "Better than random: ROAD +0.21."}
    write_json(check_record(path), {"verdict": verdict, "measures": {"road": road}})
    job.finish(verdict=verdict)
    qtbot.waitUntil(lambda: not panel.verdict.isHidden())

    assert job.settings["map"] == str(path)
    assert [round(bar.value, 2) for bar in panel.bars.bars] == [0.21, 0.01, 0.29]
    assert "✓" in panel.verdict.text()
    assert "Better than random" in panel.verdict.text()


def test_a_check_is_shown_again_with_the_map_it_was_made_of(
    explained: Workbench, settled: Settled, qtbot: Any
) -> None:
    path = make_map(explained)
    verdict = {"word": "worse", "sentence": "Worse than random."}
    write_json(check_record(path), {"verdict": verdict, "measures": {}})
    explained.bench.open_case("case_001")
    settled()
    explained.bench.open_case("case_002")
    settled()
    panel = panel_of(explained)
    assert panel.shown.earlier.count() == 2
    panel.shown.earlier.activated.emit(1)
    qtbot.waitUntil(lambda: not panel.check.verdict.isHidden())

    assert "Worse than random." in panel.check.verdict.text()


def test_a_check_of_other_weights_is_not_shown(
    explained: Workbench, runner: Any, qtbot: Any
) -> None:
    path = make_map(explained)
    write_json(path.with_name(path.name[:-7] + ".json"), {**map_info(path), "weights_sha256": "b"})
    record = {"verdict": {"word": "better", "sentence": "x"}, "weights_sha256": "a"}
    write_json(check_record(path), record)
    show_map(explained, runner, qtbot, path)

    assert panel_of(explained).check.verdict.isHidden()


def test_errors_are_outlined_over_the_map_with_their_volumes(
    explained: Workbench, runner: Any, qtbot: Any, predict_file: Any, settled: Settled
) -> None:
    explained.panel("Segment").one.click()
    job = runner.last("predict")
    job.send("case", **predict_file(explained, "001", "case_002"))
    job.finish(cases=1)
    qtbot.waitUntil(lambda: explained.session.predictions.view is not None)
    show_map(explained, runner, qtbot, make_map(explained))
    panel_of(explained).shown.errors.setChecked(True)
    settled()

    layer = explained.bench.viewer.layers["case_002 · missed, invented"]
    label = explained.session.cases.case.label.data[0] == 1
    mask = explained.session.predictions.view.labels.data[0] == 1
    assert np.array_equal(layer.data == 1, label & ~mask)
    assert np.array_equal(layer.data == 2, mask & ~label)
    millilitres = (label & ~mask).sum() * 3 / 1000
    assert f"{millilitres:.2f} mL" in panel_of(explained).shown.errors_note.text()


def compared(workbench: Workbench, runner: Any, qtbot: Any, tmp_path: Path) -> None:
    """Compare the shown map with another method's."""
    first = make_map(workbench)
    show_map(workbench, runner, qtbot, first)
    compare = panel_of(workbench).compare
    compare.method.setCurrentIndex(compare.method.findData("odd-cam"))
    compare.method.activated.emit(compare.method.currentIndex())
    compare.main().click()
    assert runner.last("explain").settings["target"] == {"class": 1, "kind": "class"}
    second = make_map(workbench, np.linspace(3, -1, 210), tmp_path / "second")
    job = runner.last("explain")
    job.send("map", path=str(second), info={**map_info(second), "method": "odd-cam"})
    job.finish(maps=1)
    qtbot.waitUntil(lambda: any(one.kind == "compare_maps" for one in runner.jobs))
    difference = make_map(workbench, np.linspace(-4, 4, 210), tmp_path / "difference")
    job = runner.last("compare_maps")
    info = {"kind": "difference", "units": "raw", "correlation": -1.0, "caption": "A less B"}
    job.send("map", path=str(difference), info=info)
    job.finish()
    qtbot.waitUntil(lambda: workbench.bench.maps.side.is_on)


def test_two_maps_and_their_difference_lie_side_by_side(
    explained: Workbench, runner: Any, qtbot: Any, tmp_path: Path
) -> None:
    compared(explained, runner, qtbot, tmp_path)
    viewer = explained.bench.viewer
    shown = [layer for layer in viewer.layers if layer.visible]

    grid = viewer.canvas.grid
    assert grid.enabled
    assert grid.actual_shape(viewer.layers) == (2, 2)
    places = [grid.position(n, viewer.layers) for n in range(8)]
    assert places[::2] == places[1::2] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    names = [layer.name for layer in shown[1::2]]
    assert names == ["A · hires-cam", "B · odd-cam", "A less B", "label"]
    assert tuple(shown[5].contrast_limits) == (-4.0, 4.0)
    assert np.shares_memory(shown[0].data, shown[2].data)
    assert "unlike" in panel_of(explained).compare.words.text()


def test_closing_the_comparison_frees_its_layers_and_shows_what_was_shown(
    explained: Workbench, runner: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer = explained.bench.viewer
    compared(explained, runner, qtbot, tmp_path)
    gone = [weakref.ref(layer) for layer in viewer.layers if layer.visible]
    panel_of(explained).compare.close_button.click()
    qtbot.wait(50)
    gc.collect()

    assert not viewer.canvas.grid.enabled
    visible = [layer.name for layer in viewer.layers if layer.visible]
    assert visible == ["case_002 · MRI", "HiResCAM anterior @ decoder 1 (run 1)",
                       "case_002 · labels"]  # fmt: skip
    assert [one() for one in gone if one() is not None] == []


def test_opening_another_case_ends_the_comparison(
    explained: Workbench, runner: Any, qtbot: Any, tmp_path: Path, settled: Settled
) -> None:
    compared(explained, runner, qtbot, tmp_path)
    explained.bench.open_case("case_003")
    settled()

    assert not explained.bench.viewer.canvas.grid.enabled
    names = [layer.name for layer in explained.bench.viewer.layers]
    assert names == ["case_003 · MRI", "case_003 · labels"]


def test_another_project_starts_with_an_empty_view_and_panel(
    explained: Workbench, runner: Any, qtbot: Any, tmp_path: Path, folder: Path, settled: Settled
) -> None:
    compared(explained, runner, qtbot, tmp_path)
    shutil.copytree(folder, tmp_path / "Other")
    explained.session.cases.open_folder(tmp_path / "Other")
    settled()

    viewer = explained.bench.viewer
    assert not viewer.canvas.grid.enabled
    assert list(viewer.layers) == []
    assert panel_of(explained).shown.caption.isHidden()
    assert explained.session.explanations.view is None


def test_a_map_is_saved_with_its_record_and_nothing_is_overwritten(
    explained: Workbench, runner: Any, qtbot: Any, tmp_path: Path, settled: Settled
) -> None:
    path = make_map(explained)
    show_map(explained, runner, qtbot, path)
    export = panel_of(explained).export
    out = tmp_path / "out"
    out.mkdir()
    export.save_to(out)
    settled()

    names = {one.name for one in out.iterdir()}
    assert names == {path.name, path.name[:-7] + ".json"}
    job = runner.last("picture")
    assert (job.settings["png"], job.settings["film"]) == (True, True)
    job.finish()
    export.save_to(out)
    settled()
    assert any("already" in box.problem.text for box in explained.messages.boxes)


def test_nothing_in_the_panel_is_disabled_without_a_reason(explained: Workbench) -> None:
    from qtpy.QtWidgets import QAbstractButton, QComboBox

    panel = panel_of(explained)
    silent = [
        widget
        for kind in (QAbstractButton, QComboBox)
        for widget in panel.findChildren(kind)
        if not widget.isEnabled() and not widget.toolTip() and widget.isVisibleTo(panel)
    ]

    assert silent == []
