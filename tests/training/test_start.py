from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.cohort.case import Case, Cohort
from napari_attnseg.cohort.project import Project
from napari_attnseg.config import ConfigError
from napari_attnseg.inference.run import load_run
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
