from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.gui.bench import KEEP, STAY, STOP
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.volume import Volume

pytestmark = pytest.mark.gui

Settled = Callable[[], None]


def set_of(workbench: Workbench, name: str) -> str | None:
    row = workbench.session.cases.row(name)
    return row.set if row else None


def case_in(workbench: Workbench, its_set: str) -> str:
    return next(row.name for row in workbench.session.cases.rows if row.set == its_set)


def open_case(workbench: Workbench, name: str, settled: Settled) -> Any:
    workbench.bench.open_case(name)
    settled()
    return workbench.bench.viewer.layers


def paint(workbench: Workbench, value: int = 1) -> tuple[int, int, int]:
    workbench.bench.layers.labels.paint((1, 1, 1), value)
    return 1, 1, 1


def test_tabs_that_cannot_be_used_yet_say_why(workbench: Workbench) -> None:
    tips = {title: workbench.tabs.tabToolTip(n) for n, title in enumerate(workbench.panels)}

    assert tips["Cases"] == tips["Model"] == ""
    assert tips["Train"] == "Train: open cases first."
    assert tips["Segment"] == "Segment: choose or train a model first."
    assert not workbench.tabs.isTabEnabled(3)


def test_a_folder_becomes_a_worklist_with_sets(opened: Workbench) -> None:
    rows = opened.session.cases.rows

    assert [row.name for row in rows] == [f"case_{n:03d}" for n in range(1, 7)]
    assert [row.set for row in rows].count("val") == 1
    assert opened.panel("Cases").table.keys == [row.name for row in rows]


def test_the_worklist_is_filtered_by_name_and_set(opened: Workbench) -> None:
    panel = opened.panel("Cases")

    panel.search.setText("00")
    panel.set_menu.setCurrentText("val")

    assert panel.table.keys == [case_in(opened, "val")]


def test_a_double_click_opens_images_below_and_labels_above(
    opened: Workbench, settled: Settled
) -> None:
    opened.panel("Cases").table.opened_key.emit("case_002")
    settled()

    names = [layer.name for layer in opened.bench.viewer.layers]
    assert names == ["case_002 · MRI", "case_002 · labels"]
    assert opened.bench.planes.plane() == "axial"
    assert opened.bench.planes.letters == ("R", "L", "A", "P")


def test_the_next_case_uses_the_layers_of_the_one_before(
    opened: Workbench, settled: Settled
) -> None:
    before = list(open_case(opened, "case_001", settled))
    opened.bench.open_neighbour(1)
    settled()

    assert opened.session.cases.case.name == "case_002"
    assert list(opened.bench.viewer.layers) == before


def test_leaving_a_case_saves_what_was_painted_as_a_draft(
    opened: Workbench, settled: Settled
) -> None:
    open_case(opened, "case_006", settled)
    at = paint(opened, 2)
    open_case(opened, "case_001", settled)
    settled()

    row = opened.session.cases.row("case_006")
    open_case(opened, "case_006", settled)
    assert row.status == "draft"
    assert opened.bench.layers.labels.data[at] == 2


def test_opening_and_leaving_without_painting_saves_nothing(
    opened: Workbench, settled: Settled
) -> None:
    open_case(opened, "case_006", settled)
    open_case(opened, "case_001", settled)

    assert opened.session.cases.row("case_006").status == "unlabelled"


def test_a_correction_is_saved_on_the_grid_of_the_image(
    opened: Workbench, folder: Path, settled: Settled
) -> None:
    open_case(opened, "case_006", settled)
    at = paint(opened, 2)
    opened.panel("Cases").correction.save.click()
    settled()

    case = opened.session.cases.project.case("case_006")
    saved, image = read_volume(case.label), read_volume(case.images["MRI"])
    assert saved.grid.difference(image.grid) is None
    assert saved.data[(0, *at)] == 2
    assert set_of(opened, "case_006") is not None


def test_the_original_label_is_never_written_to(
    opened: Workbench, folder: Path, settled: Settled
) -> None:
    original = folder / "labelsTr" / "case_001.nii.gz"
    before = original.read_bytes()
    open_case(opened, "case_001", settled)
    paint(opened)
    opened.bench.save_labels("corrected")
    settled()

    assert original.read_bytes() == before


def test_a_label_on_another_grid_is_refused_in_words(
    workbench: Workbench, folder: Path, settled: Settled
) -> None:
    path = folder / "labelsTr" / "case_002.nii.gz"
    label = read_volume(path)
    moved = np.array(label.affine)
    moved[2, 3] -= 5
    write_volume(path, Volume(label.data, moved))
    workbench.session.cases.open_folder(folder)
    settled()
    workbench.bench.open_case("case_002")
    settled()

    texts = [box.problem.text for box in workbench.messages.boxes]
    known = workbench.session.cases.row("case_002")
    assert any("5.0" in text or "-5.00" in text for text in texts) or not known.has_label


def test_an_empty_folder_is_refused_in_words(
    workbench: Workbench, tmp_path: Path, settled: Settled
) -> None:
    (tmp_path / "empty").mkdir()
    workbench.session.cases.open_folder(tmp_path / "empty")
    settled()

    (box,) = workbench.messages.boxes
    assert "empty" in box.problem.text
    assert "Traceback" not in box.problem.text
    assert "Traceback" in box.problem.details


def test_the_model_panel_disables_what_makes_no_sense_and_says_why(
    opened: Workbench, qtbot: Any
) -> None:
    panel = opened.panel("Model")

    assert "needs a head" in panel.attention.reason("odd")
    assert panel.attention.reason("slice") == ""
    opened.session.model.choose(attention="se")
    qtbot.waitUntil(lambda: bool(panel.facts.text()))
    assert not panel.places.boxes["skip"].isEnabled()
    assert panel.places.boxes["encoder"].isChecked()
    assert "1.2 M parameters" in panel.facts.text()


def test_the_drawing_has_the_levels_of_the_built_network(opened: Workbench) -> None:
    drawing = opened.panel("Model").drawing

    assert [(level.name, level.side) for level in drawing.levels] == [
        ("encoder0", -1),
        ("bottleneck", 0),
        ("decoder0", 1),
    ]


def test_losses_and_methods_are_those_that_the_child_tells(opened: Workbench, runner: Any) -> None:
    loss = opened.panel("Train").settings.fields["loss"]
    method = opened.panel("Explain").asking.method

    names = [[menu.itemData(n) for n in range(menu.count())] for menu in (loss, method)]
    assert names == [["dice-ce", "odd-loss"], ["hires-cam", "odd-cam"]]
    loss.choose("odd-loss")
    assert opened.panel("Train").settings.changes() == {"loss": "odd-loss"}
    assert method.itemText(1) == "OddCAM"
    assert method.toolTip() == "Activation times gradient."


def test_training_shows_curves_from_the_first_step_and_stops_at_once(
    opened: Workbench, runner: Any, qtbot: Any, settled: Settled
) -> None:
    panel = opened.panel("Train")
    panel.minutes.setCurrentIndex(0)
    panel.start.click()
    job = runner.last("train")
    job.send("step", step=1, epoch=1, loss=1.5, progress=0.1, eta_seconds=90)
    job.send("validation", epoch=1, dice=0.5, mean={"1": 0.4, "2": 0.6}, cases={})
    qtbot.waitUntil(lambda: len(opened.session.training.curves.at) == 1)

    assert job.settings["train"] == {"minutes": 1.0}
    assert panel.curves.loss_curve.getData()[1].tolist() == [1.5]
    assert panel.curves.dice_curves[2].getData()[1].tolist() == [0.6]
    assert panel.start.text() == "Stop"
    panel.start.click()
    assert job.is_stopped
    assert panel.start.text() == "Stopping after this step…"


def test_a_stopped_training_can_be_resumed(
    opened: Workbench, runner: Any, make_run: Callable[..., str], settled: Settled, qtbot: Any
) -> None:
    panel = opened.panel("Train")
    panel.start.click()
    job = runner.last("train")
    job.send("step", step=9, epoch=31, loss=1.0, progress=0.5)
    panel.start.click()
    run = make_run(state="stopped")
    job.finish("STOPPED", run=run)
    qtbot.waitUntil(lambda: not opened.session.training.is_running)
    settled()

    assert panel.state.text() == "Stopped, kept epoch 31."
    assert panel.resume.text() == f"Resume run {run.lstrip('0')}"
    panel.resume.click()
    assert runner.last("train").settings["resume"] == run


def test_a_failed_training_says_why_and_keeps_saying_it(
    opened: Workbench, runner: Any, qtbot: Any
) -> None:
    opened.panel("Train").start.click()
    job = runner.last("train")
    job.send("error", text="The disk is full.", next_step="Free some space.", details="trace")
    job.finish("FAILED")
    qtbot.waitUntil(lambda: bool(opened.messages.boxes))

    assert opened.messages.boxes[0].problem.text == "The disk is full. Free some space."
    assert opened.panel("Train").start.text() == "Start"


def test_a_mask_is_shown_with_names_colours_and_millilitres(
    opened: Workbench, runner: Any, make_run: Any, predict_file: Any, settled: Settled, qtbot: Any
) -> None:
    run = make_run()
    open_case(opened, "case_002", settled)
    panel = opened.panel("Segment")
    panel.one.click()
    job = runner.last("predict")
    job.send("case", **predict_file(opened, run, "case_002"))
    job.finish(cases=1)
    qtbot.waitUntil(lambda: opened.session.predictions.view is not None)

    names = [layer.name for layer in opened.bench.viewer.layers]
    assert names == ["case_002 · MRI", "case_002 · prediction (run 1)", "case_002 · labels"]
    assert "anterior" in panel.volumes.text()
    assert "0.27 mL" in panel.volumes.text()
    assert job.settings["inputs"][0]["name"] == "case_002"


def test_a_mask_becomes_draft_labels(
    opened: Workbench, runner: Any, make_run: Any, predict_file: Any, settled: Settled, qtbot: Any
) -> None:
    run = make_run()
    open_case(opened, "case_006", settled)
    opened.panel("Segment").one.click()
    job = runner.last("predict")
    job.send("case", **predict_file(opened, run, "case_006"))
    job.finish(cases=1)
    qtbot.waitUntil(lambda: opened.session.predictions.view is not None)
    opened.panel("Segment").draft.click()
    settled()

    assert opened.session.cases.row("case_006").status == "draft"
    assert opened.bench.layers.labels.data.max() == 2


def test_learning_from_a_validation_case_is_refused_with_a_sentence(
    opened: Workbench, make_run: Any, settled: Settled
) -> None:
    make_run()
    open_case(opened, case_in(opened, "val"), settled)

    button = opened.panel("Segment").correction.learn
    assert not button.isEnabled()
    assert "checked on" in button.toolTip()


@pytest.mark.parametrize(("button", "chosen"), [("keep", "002"), ("roll_back", "001")])
def test_learning_shows_dice_before_and_after_and_lets_the_person_decide(
    opened: Workbench,
    runner: Any,
    make_run: Any,
    settled: Settled,
    qtbot: Any,
    button: str,
    chosen: str,
) -> None:
    make_run(0.7)
    name = case_in(opened, "train")
    open_case(opened, name, settled)
    paint(opened)
    correction = opened.panel("Segment").correction
    correction.learn.click()
    settled()
    job = runner.last("train")
    make_run(0.9)
    before = {"cases": {"case_009": {"1": 0.6, "2": 0.8}}, "mean": {"1": 0.6, "2": 0.8}}
    after = {"cases": {"case_009": {"1": 0.8, "2": 0.9}}, "mean": {"1": 0.8, "2": 0.9}}
    job.finish(run="002", before=before, after=after)
    qtbot.waitUntil(lambda: not correction.table.isHidden())
    settled()

    assert job.settings["learn_from"] == [name]
    assert correction.table.table.text(0, 1) == "0.70"
    assert correction.table.table.text(0, 2) == "0.85"
    getattr(correction.table, button).click()
    settled()
    assert opened.session.model.run.id == chosen


def test_a_map_lies_in_its_own_cells_over_the_image(
    opened: Workbench, runner: Any, make_run: Any, settled: Settled, qtbot: Any, tmp_path: Path
) -> None:
    make_run()
    open_case(opened, "case_002", settled)
    image = opened.session.cases.case.image
    grid = image.grid.strided((5, 6, 7), (2.0, 2.0, 2.0), (0.5, 0.5, 0.5))
    values = np.linspace(-1, 3, 210, dtype=np.float32).reshape(1, 5, 6, 7)
    path = write_volume(tmp_path / "map.nii.gz", Volume(values, grid.affine))
    opened.panel("Explain").show_button.click()
    info = {
        "method": "hires-cam",
        "layer": "decoder1",
        "class": 2,
        "stride_dhw": [2, 2, 2],
        "target": {"kind": "class"},
    }
    runner.last("explain").send("map", path=str(path), info=info)
    runner.last("explain").finish(maps=1)
    qtbot.waitUntil(lambda: len(opened.bench.viewer.layers) == 3)

    layer = opened.bench.viewer.layers[1]
    assert layer.name == "HiResCAM posterior @ decoder 1 (run 1)"
    assert tuple(layer.contrast_limits) == (-3.0, 3.0)
    for cell in ((0, 0, 0), (4, 5, 6)):
        shown = opened.bench.viewer.layers[0].world_to_data(layer.data_to_world(cell))
        assert np.allclose(image.grid.world(np.array(shown)), grid.world(np.array(cell)))
    assert "-1 … 3" in opened.panel("Explain").shown.caption.text()


def test_where_there_is_no_map_a_sentence_says_so(
    opened: Workbench, runner: Any, make_run: Any, settled: Settled, qtbot: Any
) -> None:
    make_run()
    open_case(opened, "case_002", settled)
    panel = opened.panel("Explain")
    panel.show_button.click()
    runner.last("explain").send("map", path=None, info={"class": 1, "method": "hires-cam"})
    qtbot.waitUntil(lambda: not panel.shown.reason.isHidden())

    sentence = "Nothing was predicted as anterior, so there is no map for it."
    assert panel.shown.reason.text() == sentence


def test_channel_attention_is_a_strip_and_never_painted_on_anatomy(
    opened: Workbench, runner: Any, make_run: Any, settled: Settled, qtbot: Any
) -> None:
    make_run()
    open_case(opened, "case_002", settled)
    panel = opened.panel("Explain")
    panel.attention_button.click()
    numbers = {"encoder0.se.channel": {"kind": "channel", "mean": [0.1, 0.9]}}
    info = {"kind": "attention", "numbers": numbers}
    runner.last("explain").send("map", path=None, info=info)
    qtbot.waitUntil(lambda: bool(panel.rows))

    (row,) = panel.rows
    assert row.overlay is None
    assert row.item.values == (0.1, 0.9)
    assert len(opened.bench.viewer.layers) == 2


def test_the_table_has_the_worst_case_first_and_a_click_goes_to_its_worst_slice(
    opened: Workbench, runner: Any, make_run: Any, predict_file: Any, settled: Settled, qtbot: Any
) -> None:
    run = make_run()
    panel = opened.panel("Evaluate")
    panel.evaluate.click()
    job = runner.last("predict")
    name = job.settings["inputs"][0]["name"]
    job.send("case", **predict_file(opened, run, name))
    job.finish(cases=1)
    qtbot.waitUntil(lambda: any(one.kind == "evaluate" for one in runner.jobs))
    cases = [
        {
            "case": case,
            "classes": {
                "1": {
                    "name": "anterior",
                    "dice": dice,
                    "iou": dice / 2,
                    "volume_ml": 1.1,
                    "reference_ml": 1.0,
                }
            },
        }
        for case, dice in (("case_001", 0.9), (name, 0.5))
    ]
    runner.last("evaluate").finish(cases=cases, unmatched=[])
    qtbot.waitUntil(lambda: opened.session.scores.scores is not None)

    assert panel.table.keys[0] == name
    assert "0.700" in panel.summary.text()
    panel.table.clicked_key.emit(name)
    settled()
    qtbot.waitUntil(lambda: opened.session.cases.case is not None)
    assert opened.session.cases.case.name == name


def test_keys_turn_planes_and_change_cases(
    opened: Workbench, settled: Settled, qtbot: Any
) -> None:
    open_case(opened, "case_001", settled)

    assert {"PgDown", "Alt+1", "Ctrl+Return"} <= {
        key.key().toString() for key in opened.findChildren(type(opened._keys[0]))
    }
    opened._keys[3].activated.emit()
    assert opened.bench.planes.plane() == "sagittal"
    assert opened.bench.planes.letters == ("A", "P", "S", "I")


@pytest.mark.parametrize(
    ("answer", "closes", "detached"),
    [(KEEP, True, True), (STOP, True, False), (STAY, False, False)],
)
def test_closing_during_training_asks_what_to_do(
    opened: Workbench,
    runner: Any,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    closes: bool,
    detached: bool,
) -> None:
    opened.panel("Train").start.click()
    monkeypatch.setattr(opened.bench, "ask_about_training", lambda: answer)

    assert opened.bench._may_close() is closes
    assert runner.is_detached is detached


def test_nothing_is_cut_off_at_the_smallest_size(opened: Workbench, qtbot: Any) -> None:
    opened.resize(380, 720)

    for title, panel in opened.panels.items():
        opened.show_panel(title)
        qtbot.wait(20)
        # Of 380 pixels, margins and the bar that scrolls up and down leave these.
        assert panel.minimumSizeHint().width() <= 352, title


def test_the_names_of_the_planes_are_not_cut_off(opened: Workbench, qtbot: Any) -> None:
    opened.resize(380, 720)
    qtbot.wait(20)

    for name, one in opened.view.buttons.items():
        assert one.width() >= one.fontMetrics().horizontalAdvance(name) + 4, name
    assert opened.view.minimumSizeHint().width() <= 372


def test_help_names_the_keys_and_says_research_use(workbench: Workbench) -> None:
    workbench.show_help()

    box = workbench._help
    assert "research use, not a medical device" in box.text()
    assert "Alt+E" in box.text()
    box.close()
