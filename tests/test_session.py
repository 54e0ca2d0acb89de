from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.config import ModelConfig
from napari_attnseg.session import Background, Problem, Session, WorkList
from napari_attnseg.session.cases import OpenCase, label_volume
from napari_attnseg.session.curves import Curves, read_curves
from napari_attnseg.session.display import display_window, showable
from napari_attnseg.session.files import project_place, read_json, write_json
from napari_attnseg.session.maps import layer_title, layer_words
from napari_attnseg.session.predictions import class_volumes
from napari_attnseg.session.problem import problem_of
from napari_attnseg.session.runs import RunInfo, network_title, read_run
from napari_attnseg.session.scores import scores_of, worst_slice, write_table
from napari_attnseg.session.training import compare
from napari_attnseg.volume import Storage, Volume

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


class Recorder:
    """A runner whose only job a test drives."""

    def __init__(self) -> None:
        self.tell: Callable[[dict[str, Any]], None] = lambda event: None
        self.stops = 0

    def start(self, kind: str, settings: dict[str, Any], on_event: Any) -> Recorder:
        self.tell = on_event
        return self

    def stop(self) -> None:
        self.stops += 1

    def detach(self) -> None: ...

    def close(self) -> None: ...


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not until():
        assert time.monotonic() < end
        time.sleep(0.005)


def run_info(**changes: Any) -> RunInfo:
    classes = {1: "anterior", 2: "posterior"}
    return RunInfo("012", Path("012"), ModelConfig(attention="se"), classes, **changes)


def test_background_work_is_done_in_the_order_in_which_it_was_asked_for() -> None:
    done: list[int] = []
    background = Background(lambda function: function(), print)

    for number in range(20):
        background.run("counting", lambda number=number: number, done.append)
    background.finish()

    assert done == list(range(20))


@pytest.mark.parametrize("error", [RuntimeError("CUDA"), ValueError("Too thin."), KeyError("x")])
def test_no_error_in_the_background_is_lost(error: Exception) -> None:
    problems: list[Problem] = []

    def fail() -> None:
        raise error

    background = Background(lambda function: function(), problems.append)
    background.run("failing", fail)
    background.finish()

    assert len(problems) == 1
    assert type(error).__name__ in problems[0].details


def test_background_work_is_not_done_on_the_thread_that_asks() -> None:
    threads: list[threading.Thread] = []
    background = Background(lambda function: function(), print)

    background.run("looking", threading.current_thread, threads.append)
    background.finish()

    assert threads[0] is not threading.current_thread()


def test_a_defect_is_told_without_its_traceback() -> None:
    problem = problem_of(TypeError("NoneType"), "opening the case")

    assert "opening the case" in problem.text
    assert "NoneType" not in problem.text
    assert "NoneType" in problem.details


def test_a_file_error_names_the_file() -> None:
    problem = problem_of(PermissionError(13, "Permission denied", "/data/labels"), "saving")

    assert problem.text == "/data/labels: Permission denied. Check the folder and its permissions."


def test_a_job_that_was_asked_to_stop_keeps_saying_so() -> None:
    runner = Recorder()
    work_list = WorkList(runner, lambda function: function())
    work = work_list.start("train", {}, "Training")

    work_list.stop(work)
    runner.tell({"event": "state", "state": "RUNNING"})
    work_list.stop(work)

    assert work.state == "STOPPING"
    assert runner.stops == 1


def test_a_job_ends_with_its_problem_in_words() -> None:
    runner = Recorder()
    work_list = WorkList(runner, lambda function: function())
    work = work_list.start("train", {}, "Training")

    runner.tell({"event": "error", "text": "Out of memory.", "next_step": "Use less."})
    runner.tell({"event": "state", "state": "FAILED"})

    assert work.has_ended
    assert work.problem is not None
    assert work.problem.text == "Out of memory. Use less."


def test_progress_and_time_left_are_noted() -> None:
    runner = Recorder()
    work = WorkList(runner, lambda function: function()).start("predict", {}, "Segmenting")

    runner.tell({"event": "progress", "done": 1, "total": 4, "text": "x", "eta_seconds": 9})

    assert (work.fraction, work.eta_seconds) == (0.25, 9)


def test_the_session_without_a_project_refuses_in_words() -> None:
    session = Session(runner=Recorder())

    assert session.training.why_not() == "Open cases first."
    assert session.predictions.why_not() == "Choose or train a model first."
    session.close()


def test_labels_keep_the_grid_and_the_storage_of_the_image() -> None:
    storage = Storage(dtype="int16", sform_code=2)
    image = Volume(np.zeros((1, 3, 4, 5), np.float32), AFFINE, storage=storage)
    case = OpenCase("a", (("T1", image),), None, "unlabelled", None)

    volume = label_volume(case, np.full((3, 4, 5), 300), {300: "lesion"})

    assert volume.data.dtype == np.uint16
    assert volume.storage is not None
    assert (volume.storage.sform_code, volume.storage.dtype) == (2, "uint16")
    assert volume.grid.difference(image.grid) is None


@pytest.mark.parametrize(
    ("low", "high", "window"), [(-1024, 2000, (-160.0, 240.0)), (0, 100, (0.5, 99.5))]
)
def test_the_window_comes_from_the_modality(
    low: float, high: float, window: tuple[float, float]
) -> None:
    data = np.linspace(low, high, 6 * 7 * 8, dtype=np.float32).reshape(1, 6, 7, 8)

    assert np.allclose(display_window(Volume(data, AFFINE)), window, atol=0.1)


def test_the_window_of_an_image_without_numbers_does_not_fail() -> None:
    assert display_window(Volume(np.full((1, 2, 3, 4), np.nan), AFFINE)) == (0.0, 1.0)


def test_volumes_are_counted_in_millilitres() -> None:
    data = np.zeros((1, 5, 6, 7), np.uint8)
    data[0, :2, :3, :4] = 2

    volumes = class_volumes(Volume(data, AFFINE), {1: "a", 2: "b"})

    assert volumes == {1: 0.0, 2: pytest.approx(24 * 6 / 1000)}


def test_the_worst_slice_has_the_most_voxels_of_another_class() -> None:
    reference = np.zeros((5, 6, 7), int)
    prediction = reference.copy()
    prediction[1, :2] = 1
    prediction[3, :4] = 2

    assert worst_slice(prediction, reference) == 3


def test_scores_are_sorted_with_the_worst_first_and_the_unknown_last(tmp_path: Path) -> None:
    result = {
        "cases": [
            {
                "case": name,
                "classes": {
                    "1": {"dice": dice, "iou": None, "volume_ml": 2.0, "reference_ml": 1.0}
                },
            }
            for name, dice in (("a", 0.9), ("b", None), ("c", 0.2))
        ]
    }

    scores = scores_of(run_info(), result, {"a": "val"})
    write_table(scores, tmp_path / "dice.csv")

    assert [row.case for row in scores.rows] == ["c", "a", "b"]
    assert scores.summary(1) == pytest.approx((0.55, 0.35))
    assert scores.rows[0].volume_difference == 1.0
    lines = (tmp_path / "dice.csv").read_text().splitlines()
    assert lines[0] == "case,set,class,dice,iou,volume_ml,reference_ml"
    assert lines[3] == "b,,anterior,,,2,1"


def test_before_and_after_are_compared_case_by_case_with_losses_first() -> None:
    before = {"cases": {"a": {"1": 0.5, "2": 0.7}, "b": {"1": 0.9}}}
    after = {"cases": {"a": {"1": 0.7, "2": 0.9}, "b": {"1": 0.8, "2": None}}}

    assert compare(before, after) == (
        ("b", 0.9, 0.8),
        ("a", pytest.approx(0.6), pytest.approx(0.8)),
    )


def test_curves_survive_missing_numbers(tmp_path: Path) -> None:
    lines = [
        '{"event": "step", "step": 1, "loss": null, "epoch": 1}',
        '{"event": "validation", "dice": 0.5, "mean": {"1": 0.5, "2": null}}',
        '{"event": "step", "step": 2, "lo',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")

    curves = read_curves(tmp_path)

    assert curves.steps == [1]
    assert curves.at == [1]
    assert curves.dice[1] == [0.5]
    assert np.isnan(curves.dice[2][0])


def test_a_class_that_appears_later_keeps_its_place_on_the_curve() -> None:
    curves = Curves()

    curves.add_validation({"mean": {"1": 0.1}})
    curves.add_validation({"mean": {"1": 0.2, "2": 0.3}})

    assert len(curves.dice[2]) == 2
    assert np.isnan(curves.dice[2][0])


def test_a_run_is_named_by_its_network_and_its_dice() -> None:
    run = run_info(dice={1: 0.9, 2: 0.8})

    assert run.title == "run 12 · 3D U-Net + SE · Dice 0.85"
    assert network_title(ModelConfig()) == "3D U-Net"


def test_a_damaged_run_folder_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model": {"backbone": 1, "odd": 2}}')

    assert read_run(tmp_path) is None


@pytest.mark.parametrize(
    ("stride", "title"),
    [
        ((4, 4, 4), "decoder 2 · 4 mm"),
        ((1, 4, 4), "decoder 2 · 1 x 4 x 4 mm"),
        (None, "decoder 2"),
    ],
)
def test_layers_are_named_with_the_size_of_their_cells(stride: Any, title: str) -> None:
    assert layer_title("decoder2", stride, (1.0, 1.0, 1.0)) == title
    assert layer_words("bottleneck") == "bottleneck"


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"

    write_json(path, {"a": 1})
    write_json(path, {"a": 2})

    assert read_json(path) == {"a": 2}
    assert [one.name for one in path.parent.iterdir()] == ["a.json"]


def test_a_project_goes_beside_the_data_and_never_into_them(tmp_path: Path) -> None:
    (tmp_path / "Task04").mkdir()

    assert project_place(tmp_path / "Task04") == tmp_path.resolve() / "Task04-attnseg"


def test_a_turned_channel_is_resampled_for_display_at_its_own_place() -> None:
    angle = 0.2
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    source = Volume(np.zeros((1, 20, 22, 24), np.float32), turned)
    d, h, w = np.meshgrid(*map(np.arange, source.shape_dhw), indexing="ij")
    world = source.grid.world(np.stack([d, h, w], axis=-1))
    source = source.on_grid((world @ [1.0, 2.0, 3.0]).astype(np.float32))
    reference = Volume(np.zeros((1, 5, 6, 7)), np.diag([1.0, 1.5, 2.0, 1.0])).grid.cropped(
        (2, 4, 3), (4, 5, 6)
    )

    shown = showable(source, reference)

    at = np.stack(np.meshgrid(*map(np.arange, reference.shape_dhw), indexing="ij"), axis=-1)
    assert shown.grid.difference(reference) is None
    assert np.allclose(shown.data[0], reference.world(at) @ [1.0, 2.0, 3.0], atol=1e-3)
    assert showable(shown, reference) is shown
