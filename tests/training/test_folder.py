from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from napari_attnseg.training.cases import TrainingError
from napari_attnseg.training.folder import METRICS, RESUME, RunFolder
from napari_attnseg.training.reports import StepReport, ValidationReport


def step_report(step: int) -> StepReport:
    return StepReport(step, 1, 0.5, {"main": 0.5}, 1e-3, 0.1, 0.2, 3.0)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    state = {"weights": torch.arange(6.0).reshape(2, 3), "step": 3, "before": {"a": {1: None}}}

    folder.save_resume(state)

    loaded = folder.load_resume()
    assert loaded is not None
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == state


def test_a_run_without_a_resume_file_has_none(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).load_resume() is None


def test_a_damaged_resume_file_is_named(tmp_path: Path) -> None:
    (tmp_path / RESUME).write_bytes(b"PK\x03\x04 torn")

    with pytest.raises(TrainingError, match=r"resume\.pt .* is damaged"):
        RunFolder(tmp_path).load_resume()


def test_a_full_disk_is_a_sentence_and_the_old_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.save_resume({"step": 1})
    before = sorted(tmp_path.iterdir()), (tmp_path / RESUME).read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(TrainingError, match="the disk is full"):
        folder.save_resume({"step": 2})
    with pytest.raises(TrainingError, match="the disk is full"):
        folder.save_weights("weights", {"a": torch.zeros(2)})
    assert (sorted(tmp_path.iterdir()), (tmp_path / RESUME).read_bytes()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_the_log_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")

    with pytest.raises(TrainingError, match="the disk is full"):
        RunFolder(tmp_path).log("hello")


def test_metrics_hold_every_validation_and_some_steps(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in range(1, 22):
        folder.note(step_report(step))
    folder.note(ValidationReport(1, {1: 0.5}, {"a": {1: 0.5}}, True, False, 1.0))

    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]

    assert [line.get("step") for line in lines] == [1, 11, 21, None]
    assert lines[-1]["cases"] == {"a": {"1": 0.5}}


def test_metrics_of_steps_that_are_made_again_are_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 11, 21, 31):
        folder.note(step_report(step))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"event": "st')

    folder.forget_after(21)

    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 11, 21]
