from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.cohort.case import Case, Cohort
from napari_attnseg.cohort.project import Project
from napari_attnseg.config import ConfigError
from napari_attnseg.inference.run import load_run
from napari_attnseg.io import write_volume
from napari_attnseg.training import TrainingCase, TrainingError
from napari_attnseg.training.reports import StepReport, WarningReport
from napari_attnseg.training.start import model_config, train_project

SMALL = {
    "model": {"attention": "se", "preset": "tiny", "options": {"widths": [4, 8]}},
    "train": {"epochs": 2, "batch_size": 2},
    "plan": {"patch_size": [8, 12, 16]},
}


@pytest.fixture
def project(made_cases: list[TrainingCase], tmp_path: Path) -> Project:
    cases = [Case(one.name, one.images, one.label) for one in made_cases]
    cases.append(Case("new_case", made_cases[0].images))
    cohort = Cohort("blocks", cases, {1: "bright", 2: "dark"}, ("MR",))
    return Project.create(tmp_path / "project", cohort)


def test_a_project_is_trained_with_nothing_but_a_length(
    project: Project, finish: Callable[..., Any]
) -> None:
    _, result = finish(
        train_project({"project": str(project.path), "train": {"epochs": 1, "steps_per_epoch": 1}})
    )

    run = load_run(project.run_dir(result.run))
    assert run.config.preset == "plan"
    assert run.config.options["widths"] == list(run.plan.widths)
    assert run.config.out_channels == 3
    assert result.state == "done"
    assert set(result.validation) == {one.name for one in project.validation_cases()}


def test_settings_are_obeyed_and_recorded(project: Project, finish: Callable[..., Any]) -> None:
    reports, result = finish(train_project({"project": project.path, **SMALL}))

    run = load_run(project.run_dir(result.run))
    assert run.plan.patch_size == (8, 12, 16)
    assert run.plan.batch_size == 2
    assert run.config.attention == "se"
    assert run.split["val"] == [one.name for one in project.validation_cases()]
    assert not set(run.split["val"]) & set(run.split["train"])
    warnings = [one.text for one in reports if isinstance(one, WarningReport)]
    assert any("1 of 7 cases have no label" in text for text in warnings)


def test_a_stopped_run_is_resumed_from_its_own_settings(
    project: Project, finish: Callable[..., Any]
) -> None:
    stop: list[bool] = []
    steps = train_project({"project": project.path, **SMALL}, lambda: bool(stop))
    for report in steps:
        if isinstance(report, StepReport):
            stop.append(True)

    _, result = finish(train_project({"project": project.path, "resume": True}))

    assert result.run == "001"
    assert result.state == "done"
    assert result.steps == 10
    assert len(project.runs()) == 1


def test_a_finished_run_is_not_resumed(project: Project, finish: Callable[..., Any]) -> None:
    finish(train_project({"project": project.path, **SMALL}))

    with pytest.raises(TrainingError, match="has already ended as it should"):
        finish(train_project({"project": project.path, "resume": "001"}))


def test_learning_from_a_case_compares_before_and_after(
    project: Project, finish: Callable[..., Any], made_cases: list[TrainingCase]
) -> None:
    finish(train_project({"project": project.path, **SMALL}))
    project.save_label("new_case", made_cases[0].read_label(), "corrected")

    _, result = finish(
        train_project(
            {
                "project": project.path,
                "from": "001",
                "learn_from": ["new_case"],
                "train": {"epochs": 1},
            }
        )
    )

    saved = json.loads((project.run_dir("002") / "config.json").read_text())
    assert saved["new_cases"] == ["new_case"]
    assert "new_case" in saved["split"]["train"]
    assert saved["start"] == "001"
    first = json.loads((project.run_dir("001") / "result.json").read_text())
    document = result.to_json()
    assert document["before"] == first["validation"]
    assert set(document["after"]["cases"]) == set(document["before"]["cases"])


def test_learning_from_a_validation_case_is_refused(
    project: Project, finish: Callable[..., Any]
) -> None:
    finish(train_project({"project": project.path, **SMALL}))
    kept = project.validation_cases()[0].name

    with pytest.raises(ValueError, match="fixed validation cases"):
        finish(train_project({"project": project.path, "from": "001", "learn_from": [kept]}))

    assert len(project.runs()) == 1


def test_a_misspelt_setting_is_refused_before_anything_is_made(
    project: Project, finish: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError, match="learning_rate"):
        finish(train_project({"project": project.path, "train": {"learningrate": 1}}))

    assert project.runs() == []


def test_stopped_while_reading_the_cases_nothing_is_left_behind(
    project: Project, finish: Callable[..., Any]
) -> None:
    _, result = finish(train_project({"project": project.path, **SMALL}, lambda: True))

    assert result.state == "stopped"
    assert project.runs() == []


def test_a_network_is_sized_by_the_plan_unless_asked_otherwise() -> None:
    assert model_config({}, channels=1, classes=2).preset == "plan"
    assert model_config({"preset": "tiny"}, channels=1, classes=2).preset == "tiny"
    assert model_config({"backbone": "unet2d"}, channels=3, classes=2).dims == 2
    assert model_config({}, channels=3, classes=2).in_channels == 3


def begin_and_stop(project: Project) -> None:
    """Train until the first step and stop there; what was reached is saved."""
    stop: list[bool] = []
    for report in train_project({"project": project.path, **SMALL}, lambda: bool(stop)):
        if isinstance(report, StepReport):
            stop.append(True)


@pytest.mark.parametrize("spoilt", ["image", "label"])
@pytest.mark.parametrize("which", ["training", "validation"])
def test_a_start_that_fails_names_the_case_and_leaves_no_run(
    spoilt: str,
    which: str,
    project: Project,
    finish: Callable[..., Any],
    tmp_path: Path,
) -> None:
    case = getattr(project, f"{which}_cases")()[0]
    path = tmp_path / "elsewhere" / "t1.nii.gz"
    path.parent.mkdir()
    path.write_bytes(b"this is no volume")
    content = json.loads((project.path / "project.json").read_text())
    entry = content["cases"][case.name]
    entry.update({"images": {"MR": str(path)}} if spoilt == "image" else {"label": str(path)})
    (project.path / "project.json").write_text(json.dumps(content))

    with pytest.raises(TrainingError, match=f"The case {case.name} cannot be used: .*t1.nii.gz"):
        finish(train_project({"project": project.path, **SMALL}))

    assert project.runs() == []


def test_a_start_without_classes_leaves_no_run(
    made_cases: list[TrainingCase], tmp_path: Path, finish: Callable[..., Any]
) -> None:
    one = made_cases[0]
    empty = one.read_label()
    label = write_volume(tmp_path / "e.nii.gz", empty.replace(data=empty.data * 0, storage=None))
    cohort = Cohort("empty", [Case("a", one.images, label)], {}, ("MR",))
    project = Project.create(tmp_path / "project", cohort)

    with pytest.raises(TrainingError, match="no class beside the background"):
        finish(train_project({"project": project.path, **SMALL}))

    assert project.runs() == []


def test_stopped_while_preparing_the_cases_no_run_is_left(project: Project) -> None:
    stop: list[bool] = []
    steps = train_project({"project": project.path, **SMALL}, lambda: bool(stop))
    result = None
    while result is None:
        try:
            report = next(steps)
        except StopIteration as end:
            result = end.value
        else:
            if getattr(report, "text", "").startswith("Reading"):
                stop.append(True)

    assert (result.state, result.run) == ("stopped", "")
    assert project.runs() == []


def test_a_run_that_fails_after_it_was_saved_stays(
    project: Project, monkeypatch: pytest.MonkeyPatch, finish: Callable[..., Any]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(sys.modules["napari_attnseg.training.fit"], "exact_dice", fail)

    with pytest.raises(RuntimeError, match="out of luck"):
        finish(train_project({"project": project.path, **SMALL}))

    assert (project.run_dir("001") / "resume.pt").exists()


def test_the_newest_run_that_can_be_resumed_is_taken(
    project: Project, finish: Callable[..., Any]
) -> None:
    begin_and_stop(project)
    finish(train_project({"project": project.path, **SMALL}))
    never_saved = project.new_run_dir()
    for name in ("config.json", "plan.json"):
        shutil.copy(project.run_dir("001") / name, never_saved)

    _, result = finish(train_project({"project": project.path, "resume": True}))

    assert (result.run, result.state) == ("001", "done")
    assert [run.name for run in project.runs()] == ["001", "002", "003"]
    with pytest.raises(TrainingError, match="Run 002 has already ended as it should"):
        finish(train_project({"project": project.path, "resume": True}))


@pytest.mark.parametrize(
    ("is_begun", "words"),
    [
        (False, "has no run to resume; train a new one"),
        (True, "run 001 ended before"),
    ],
)
def test_where_no_run_can_be_resumed_that_is_said(
    is_begun: bool, words: str, project: Project, finish: Callable[..., Any]
) -> None:
    if is_begun:
        project.new_run_dir()

    with pytest.raises(TrainingError, match=words):
        finish(train_project({"project": project.path, "resume": True}))
