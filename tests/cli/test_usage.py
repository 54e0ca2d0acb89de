"""Exit statuses, sentences and start-up of the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.cli.entry import _with_window, command_names

COMMANDS = {
    "demo", "doctor", "models", "project", "train", "predict", "explain", "evaluate", "info",
    "convert",
}  # fmt: skip


def test_every_command_is_there() -> None:
    assert command_names() >= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, attnseg: Any) -> None:
    answer = attnseg(command, "--help")

    assert answer.status == 0
    assert "Usage: attnseg" in answer.out


@pytest.mark.parametrize(
    "words",
    [
        ["bogus"],
        ["train"],
        ["train", "p", "--no-such-option"],
        ["train", "p", "--minutes", "1", "--epochs", "2"],
        ["train", "p", "somewhere"],
        ["predict", "run", "--out", "o"],
        ["predict", "run", "--out", "o", "--cases", "validation", "a.nii.gz"],
        ["demo", "--minutes", "0"],
    ],
)
def test_wrong_usage_ends_with_status_2(words: list[str], attnseg: Any) -> None:
    answer = attnseg(*words)

    assert answer.status == 2
    assert answer.err
    assert answer.out == ""


def test_an_error_is_one_sentence_without_a_traceback(attnseg: Any) -> None:
    answer = attnseg("project", "no/such/folder")

    assert answer.status == 1
    assert answer.err.startswith("attnseg: ")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err


def test_verbose_shows_the_traceback_wherever_it_stands(attnseg: Any) -> None:
    answer = attnseg("project", "no/such/folder", "--verbose")

    assert answer.status == 1
    assert "Traceback" in answer.err


def test_a_file_in_place_of_a_command_opens_the_window(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    path.touch()

    assert _with_window([str(path)]) == ["window", str(path)]
    assert _with_window(["train", str(path)]) == ["train", str(path)]
    assert _with_window([]) == []


def test_a_file_that_is_not_there_does_not_open_the_window(attnseg: Any) -> None:
    answer = attnseg("nowhere/case.nii.gz")

    assert answer.status == 1
    assert "nowhere" in answer.err


def test_the_module_is_the_command() -> None:
    words = [sys.executable, "-m", "napari_attnseg", "--version"]

    done = subprocess.run(words, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("napari-attnseg ")


def test_the_command_line_starts_without_torch_and_napari() -> None:
    code = "import napari_attnseg.cli, sys; print(' '.join(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {"torch", "napari", "qtpy", "monai"}.isdisjoint(done.stdout.split())


def test_doctor_names_the_device_and_the_window(attnseg: Any) -> None:
    answer = attnseg("doctor", "--json")

    assert answer.status == 0
    assert {"torch", "device", "precision", "memory_bytes", "qt", "can_write"} <= set(answer.json)


def test_models_lists_backbones_attention_and_pairs(attnseg: Any) -> None:
    found = attnseg("models", "--json").json

    assert {"backbones", "attentions", "networks", "pairs"} <= set(found)
    assert {"unet3d", "unet2d"} <= {one["name"] for one in found["backbones"]}
