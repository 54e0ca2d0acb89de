"""What the window refuses, or warns of, in words; and that nothing is lost or begun by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.cohort.phantoms import write_phantoms
from napari_attnseg.config import ModelConfig
from napari_attnseg.gui.bench import bench_of
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.volume import Volume

pytestmark = pytest.mark.gui

Settled = Callable[[], None]


def refusal(workbench: Workbench) -> str:
    """Return the one problem that is shown, after checking that it is a plain sentence."""
    (box,) = workbench.messages.boxes
    text = box.problem.text
    assert text.endswith(".")
    assert "Traceback" not in text
    assert "Error" not in text
    assert box.text.text() == text
    return str(text)


def files_below(folder: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def test_a_file_that_is_no_volume_is_refused(
    workbench: Workbench, tmp_path: Path, settled: Settled
) -> None:
    bad = tmp_path / "scan.nii.gz"
    bad.write_bytes(b"these are no voxels")

    workbench.session.cases.add_files([bad])
    settled()

    assert "scan.nii.gz" in refusal(workbench)
    assert not workbench.session.cases.rows
    assert list(tmp_path.iterdir()) == [bad]


def test_a_label_on_another_grid_is_refused_with_the_distance(
    workbench: Workbench, folder: Path, settled: Settled
) -> None:
    workbench.session.cases.open_folder(folder)
    settled()
    path = folder / "labelsTr" / "case_002.nii.gz"
    label = read_volume(path, labels=True)
    moved = np.array(label.affine)
    moved[2, 3] -= 5
    write_volume(path, Volume(label.data, moved))

    workbench.bench.open_case("case_002")
    settled()

    text = refusal(workbench)
    assert "5" in text
    assert "mm" in text
    assert "label" in text
    assert workbench.bench.layers.case is None


def test_a_label_with_a_value_that_is_none_is_refused(
    workbench: Workbench, folder: Path, settled: Settled
) -> None:
    workbench.session.cases.open_folder(folder)
    settled()
    path = folder / "labelsTr" / "case_003.nii.gz"
    label = read_volume(path, labels=True)
    values = label.data.astype(np.float32)
    values[0, 3, 4, 5] = np.nan
    write_volume(path, Volume(values, label.affine))
    before = path.read_bytes()

    workbench.bench.open_case("case_003")
    settled()

    assert "NaN" in refusal(workbench)
    assert path.read_bytes() == before


def test_a_project_that_cannot_be_written_is_refused_and_its_cases_stay_as_they_were(
    workbench: Workbench, folder: Path, settled: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder.resolve().parent / f"{folder.name}-attnseg"
    place.write_text("a file in the place of the project folder")
    before = files_below(folder)

    workbench.session.cases.open_folder(folder)
    settled()

    assert str(place.name) in refusal(workbench)
    assert files_below(folder) == before
    assert place.read_text() == "a file in the place of the project folder"


def test_a_folder_that_is_no_run_is_refused_as_a_model(
    opened: Workbench, tmp_path: Path, settled: Settled
) -> None:
    opened.session.model.load_file(tmp_path)
    settled()

    assert "not a trained run" in refusal(opened)
    assert opened.session.model.run is None


@pytest.fixture
def full_disk(opened: Workbench, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let every attempt to save a label meet a full disk, until it is undone."""
    project = opened.session.cases.project

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", str(project.path / "labels"))

    monkeypatch.setattr(type(project), "save_label", full)
    return monkeypatch


def painted_case(workbench: Workbench, settled: Settled) -> None:
    workbench.bench.open_case("case_001")
    settled()
    workbench.bench.layers.labels.paint((5, 6, 7), 2)


def test_painted_labels_that_cannot_be_saved_stay_on_screen_and_count_as_unsaved(
    opened: Workbench, settled: Settled, full_disk: pytest.MonkeyPatch
) -> None:
    painted_case(opened, settled)

    opened.bench.save_labels("corrected")
    settled()

    text = refusal(opened)
    assert "No space left" in text
    assert "kept in this window" in text
    assert opened.bench.layers.labels.data[5, 6, 7] == 2
    assert opened.bench.layers.is_changed


def test_painted_labels_that_cannot_be_saved_are_there_again_when_the_case_is_opened_again(
    opened: Workbench, settled: Settled, full_disk: pytest.MonkeyPatch
) -> None:
    painted_case(opened, settled)
    opened.bench.open_case("case_002")
    settled()
    full_disk.undo()

    opened.bench.open_case("case_001")
    settled()
    assert opened.bench.layers.labels.data[5, 6, 7] == 2
    opened.bench.open_case("case_002")
    settled()

    case = opened.session.cases.project.case("case_001")
    assert read_volume(case.draft, labels=True).data[0, 5, 6, 7] == 2
    assert not opened.session.cases.unsaved


def test_a_window_with_labels_that_cannot_be_saved_asks_before_it_closes(
    opened: Workbench, settled: Settled, full_disk: pytest.MonkeyPatch
) -> None:
    painted_case(opened, settled)
    asked = []

    def go_back(reason: str) -> str:
        asked.append(reason)
        return "Go back"

    full_disk.setattr(opened.bench, "ask_about_labels", go_back)

    assert not opened.bench._may_close()

    settled()
    assert "No space left" in asked[0]
    assert opened.session.cases.unsaved == ("case_001",)


@pytest.mark.parametrize(
    "text",
    [
        "case_006 has no label and is not learned from.",
        "The class 3 never occurs.",
        "Only one case has a label, so nothing is left to check on.",
        "case_002 is smaller than the patch and is continued with its border.",
        "case_004 has 3 voxels without a value, taken as outside the body.",
    ],
)
def test_what_training_warns_of_is_said_and_the_training_goes_on(
    opened: Workbench, runner: Any, qtbot: Any, text: str
) -> None:
    opened.panel("Train").start.click()
    job = runner.last("train")

    job.send("warning", text=text)

    qtbot.waitUntil(lambda: opened.messages.line.text() == text)
    assert opened.session.training.is_running
    assert not opened.messages.boxes


@pytest.fixture
def real(make_napari_viewer: Any) -> Iterator[Workbench]:
    """A workbench whose jobs run in real child processes."""
    viewer = make_napari_viewer()
    made = Workbench(viewer)
    viewer.window.add_dock_widget(made, name="Workbench")
    yield made
    bench_of(viewer).close()


def test_a_checkpoint_of_another_model_is_refused(
    real: Workbench, qtbot: Any, tmp_path: Path
) -> None:
    write_phantoms(tmp_path / "cases", cases=3, seed=0)
    session = real.session
    session.cases.open_folder(tmp_path / "cases")
    qtbot.waitUntil(lambda: len(session.cases.rows) == 3, timeout=60_000)
    other_models_run(session.cases.project, session.cases.classes)
    session.model.refresh_runs()
    qtbot.waitUntil(lambda: session.model.run is not None, timeout=20_000)
    real.bench.open_case(session.cases.names[0])
    segment = real.panel("Segment")
    qtbot.waitUntil(segment.one.isEnabled, timeout=20_000)

    segment.one.click()
    qtbot.waitUntil(lambda: bool(real.messages.boxes), timeout=60_000)

    assert "weights" in refusal(real)
    assert session.predictions.view is None


def other_models_run(project: Any, classes: dict[int, str]) -> None:
    """Put a run into the project whose weights are those of another network."""
    import torch
    from safetensors.torch import save_file

    from napari_attnseg.preprocessing.fingerprint import fingerprint
    from napari_attnseg.preprocessing.plan import make_plan

    run = project.new_run_dir()
    config = ModelConfig(attention="se", out_channels=len(classes) + 1).to_dict()
    case = project.cases[0]
    (image,) = case.images.values()
    plan = make_plan(fingerprint([(read_volume(image), None)]))
    write = {
        "config.json": {
            "model": config,
            "train": {},
            "classes": {str(value): name for value, name in classes.items()},
            "channels": list(project.channels),
            "split": {"train": [], "val": []},
            "version": "0",
        },
        "plan.json": plan.to_dict(),
        "result.json": {"state": "done"},
    }
    for name, content in write.items():
        (run / name).write_text(json.dumps(content), encoding="utf-8")
    save_file({"head.weight": torch.zeros(3, 4)}, run / "weights.safetensors")
