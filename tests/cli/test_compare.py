"""Comparisons of networks in real children: stopped, killed, gone on with, and refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.cohort.project import Project
from napari_attnseg.jobs import JOBS, Context
from napari_attnseg.jobs.comparison import ComparisonFolder, Entry, entries_of
from napari_attnseg.jobs.inputs import JobError
from napari_attnseg.jobs.pool import TrainingPool

STEPS = 24
NAME = "24-steps"
NONE, SE = (Entry("unet3d", name, "dice-ce", 0) for name in ("none", "se"))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, cohort: Path) -> Path:
    from napari_attnseg.cli import main

    path = tmp_path_factory.mktemp("compared") / "shapes"
    assert main(["project", str(path), "--cases", str(cohort)]) == 0
    return path


def settings(shapes: Path) -> dict[str, Any]:
    return {
        "project": str(shapes),
        "backbones": ["unet3d"],
        "attentions": ["none", "se"],
        "model": {"preset": "tiny"},
        "train": {"steps": STEPS, "device": "cpu", "threads": 1},
    }


def told(shapes: Path, on_event: Any = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Compare, and stop once `on_event` says so; returns the events and the result."""
    events: list[dict[str, Any]] = []
    is_asked: list[bool] = []
    job = JOBS["compare"](settings(shapes), Context(should_stop=lambda: bool(is_asked)))
    while True:
        try:
            events.append(next(job))
        except StopIteration as end:
            return events, end.value
        if on_event is not None and on_event(events[-1]):
            is_asked.append(True)


@pytest.fixture(scope="module")
def compared(shapes: Path) -> dict[str, Any]:
    """Kill the first training and stop in the second one, then call again."""
    folder = ComparisonFolder(Project.open(shapes), NAME)
    pools: list[TrainingPool] = []

    def kept(*arguments: Any) -> TrainingPool:
        pools.append(TrainingPool(*arguments))
        return pools[-1]

    def kill_or_stop(event: dict[str, Any]) -> bool:
        for entry, one in pools[0]._active.items() if pools else ():
            if entry == NONE and one.done > 0 and folder.can_resume(entry):
                os.kill(one.process.pid or 0, signal.SIGKILL)
                one.done = 0.0
            elif entry == SE and one.done > 0.2:
                return True
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_attnseg.jobs.kinds.compare.TrainingPool", kept)
        first, stopped = told(shapes, kill_or_stop)
    half = json.loads((folder.run_dir(SE) / "result.json").read_text(encoding="utf-8"))
    trials = {one["title"]: one for one in first if one["event"] == "trial"}
    events, result = told(shapes)
    return {"stopped": stopped, "half": half, "trials": trials, "events": events, "result": result}


def test_a_stopped_comparison_keeps_what_was_reached(compared: dict[str, Any]) -> None:
    assert compared["stopped"]["state"] == "stopped"
    assert compared["stopped"]["unfinished"] == [SE.title]
    assert compared["half"]["state"] == "stopped"
    assert 0 < compared["half"]["steps"] < STEPS


def test_a_killed_training_is_told_and_does_not_end_the_comparison(
    compared: dict[str, Any],
) -> None:
    assert compared["trials"][NONE.title]["state"] == "LOST"
    assert "signal 9" in compared["trials"][NONE.title]["text"]
    assert list(compared["stopped"]["failed"]) == [NONE.title]


def test_the_next_call_goes_on_where_each_training_stopped(
    compared: dict[str, Any], shapes: Path
) -> None:
    assert compared["result"]["state"] == "done"
    assert compared["result"]["unfinished"] == []
    for name in ("none", "se"):
        run = shapes / "comparisons" / NAME / "runs" / f"unet3d-{name}-dice-ce-seed0"
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        assert result["steps"] == STEPS
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        steps = [json.loads(line)["step"] for line in lines if '"step"' in line]
        assert steps == sorted(set(steps))


def test_all_networks_have_the_same_plan_and_cases(shapes: Path, compared: dict[str, Any]) -> None:
    runs = sorted((shapes / "comparisons" / NAME / "runs").iterdir())
    plans = [json.loads((run / "plan.json").read_text(encoding="utf-8")) for run in runs]
    configs = [json.loads((run / "config.json").read_text(encoding="utf-8")) for run in runs]

    assert len(runs) == 2
    assert plans[0] == plans[1]
    assert configs[0]["split"] == configs[1]["split"]
    assert compared["result"]["shared"]["warnings"] == []


def test_the_table_has_scores_weights_and_the_paired_test(compared: dict[str, Any]) -> None:
    none, se = compared["result"]["rows"]

    assert none["test"] is None
    assert se["test"]["cases"] == 1
    assert se["test"]["p"] == 1.0
    assert se["parameters"] > none["parameters"]
    assert set(se["means"]) == {"1", "2"}


def test_progress_tells_the_time_that_is_left(compared: dict[str, Any]) -> None:
    told = [one for one in compared["events"] if one["event"] == "progress"]

    assert any(one.get("eta_seconds") for one in told)
    parts = [one["done"] for one in told if one.get("total")]
    assert parts == sorted(parts)


def test_a_finished_comparison_is_printed_again_without_training(
    compared: dict[str, Any], shapes: Path, attnseg: Any, tmp_path: Path
) -> None:
    answer = attnseg(
        "compare", shapes, "--name", NAME, "--steps", STEPS, "--preset", "tiny",
        "--device", "cpu", "--threads", 1, "--report", tmp_path / "table.md", "--json",
    )  # fmt: skip

    assert answer.status == 0
    assert answer.json["rows"] == compared["result"]["rows"]
    assert "| unet3d | se |" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_other_settings_are_not_mixed_into_a_comparison(
    compared: dict[str, Any], shapes: Path, attnseg: Any
) -> None:
    answer = attnseg("compare", shapes, "--name", NAME, "--steps", 99)

    assert answer.status == 1
    assert "begun with" in answer.err
    assert "--name" in answer.err


def test_two_programs_do_not_work_on_one_comparison(tmp_path: Path, shapes: Path) -> None:
    folder = ComparisonFolder(Project.open(shapes), "locked")

    with folder.locked(), pytest.raises(JobError, match="Another program"), folder.locked():
        pass


def test_cases_that_changed_are_refused(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ComparisonFolder(Project.open(shapes), "changed")
    folder.begin({"model": {}, "train": {}})
    monkeypatch.setattr(Project, "training_cases", lambda self: [])

    with pytest.raises(JobError, match="other training and validation cases"):
        folder.begin({"model": {}, "train": {}})


def test_pairs_that_make_no_sense_are_refused_with_their_reason(
    shapes: Path, attnseg: Any
) -> None:
    answer = attnseg("compare", shapes, "--attentions", "gate", "--backbones", "unet4d")

    assert answer.status == 2
    assert "no backbone named 'unet4d'" in answer.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Nothing to compare was named"),
        (("--losses", "dyce"), "Did you mean 'dice'"),
        (("--attentions", "none", "--name", "a/b"), "cannot be named"),
        (("--steps", "3", "--epochs", "2"), "one of --steps"),
        (("--report", "x.pdf"), "--report is one of"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    shapes: Path, attnseg: Any, words: tuple[str, ...], sentence: str
) -> None:
    answer = attnseg("compare", shapes, *words)

    assert answer.status in (1, 2)
    assert sentence in answer.err


def test_seeds_come_first_so_that_an_unfinished_comparison_is_fair() -> None:
    entries = entries_of(["unet3d", "vnet"], ["none", "se"], ["dice"], 2)

    assert [one.seed for one in entries] == [0] * 4 + [1] * 4
    assert len({one.name for one in entries}) == 8
