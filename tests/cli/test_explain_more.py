"""What ``attnseg explain`` does besides maps: checks, effects of attention, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def image(cohort: Path) -> Path:
    return cohort / "imagesTr" / "case_0.nii.gz"


def test_a_map_is_checked_and_drawn(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    words = ["--class", "ball", "--layer", "encoder1", "--check", "quick", "--png", "--film"]

    answer = attnseg("explain", trained, image(cohort), *words, "--out", tmp_path, "--json")

    (one,) = answer.json
    if one["path"] is None:
        pytest.skip("a network trained for seconds did not find the ball")
    stem = Path(one["path"]).name.removesuffix(".nii.gz")
    assert json.loads((tmp_path / f"{stem}_check.json").read_text())["form"] == "quick"
    assert one["check"]["verdict"]["word"] in ("better", "no better", "worse")
    assert [Path(path).name for path in one["pictures"]] == [f"{stem}.png", f"{stem}.gif"]
    assert all(Path(path).exists() for path in one["pictures"])


def test_effects_of_attention_need_no_class(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    answer = attnseg("explain", trained, image(cohort), "--effects", "--out", tmp_path)

    assert answer.status == 0
    assert "case_0_effects.json" in answer.out
    assert not list(tmp_path.glob("*cam*.nii.gz"))


def test_a_check_that_does_not_exist_is_wrong_usage(
    trained: Path, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    answer = attnseg("explain", trained, image(cohort), "--check", "long", "--out", tmp_path)

    assert answer.status == 2
    assert "quick or full" in answer.err
