"""A training that is killed must end, once resumed, as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.config import TrainConfig
from napari_attnseg.training import FitTask, fit
from napari_attnseg.training.folder import METRICS, RESUME

TRAIN = """
import json, sys
from pathlib import Path
from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.preprocessing import Plan
from napari_attnseg.training import FitTask, TrainingCase, fit

saved = json.loads(Path(sys.argv[1]).read_text())
cases = [[TrainingCase(n, i, l) for n, i, l in saved[key]] for key in ("cases", "validation")]
task = FitTask(
    *cases,
    plan=Plan.from_dict(saved["plan"]),
    model=ModelConfig.from_dict(saved["model"]),
    train=TrainConfig.from_dict(saved["train"]),
    run_dir=Path(sys.argv[2]),
    classes={1: "bright", 2: "dark"},
    channels=["MR"],
)
for report in fit(task):
    print(json.dumps(report.to_event()), flush=True)
"""

TRAIN_CONFIG = TrainConfig(epochs=6, steps_per_epoch=4, seed=5, threads=1)


@pytest.fixture
def start(make_task: Callable[..., FitTask], tmp_path: Path) -> Callable[[str], subprocess.Popen]:
    task = make_task()
    file = tmp_path / "task.json"
    listed = {
        key: [[one.name, {k: str(p) for k, p in one.images.items()}, str(one.label)] for one in of]
        for key, of in (("cases", task.cases), ("validation", task.validation))
    }
    file.write_text(
        json.dumps(
            {
                **listed,
                "plan": task.plan.to_dict(),
                "model": task.model.to_dict(),
                "train": TRAIN_CONFIG.to_dict(),
            }
        )
    )

    def start_child(name: str) -> subprocess.Popen:
        command = [sys.executable, "-c", TRAIN, str(file), str(tmp_path / name)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    return start_child


def kill_after_step(child: subprocess.Popen, step: int) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if json.loads(line).get("step") == step:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_in_mid_epoch_and_resumed_ends_bit_equal(
    start: Callable[[str], subprocess.Popen],
    make_task: Callable[..., FitTask],
    finish: Callable[..., Any],
    tmp_path: Path,
) -> None:
    finish(fit(make_task(train=TRAIN_CONFIG, run_dir=tmp_path / "whole")))

    child = start("killed")
    kill_after_step(child, 6)
    assert child.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / RESUME).exists()
    start("killed").communicate(timeout=120)

    for name in ("weights.safetensors", "last.safetensors"):
        one, other = (tmp_path / run / name for run in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "killed" / METRICS).read_text().splitlines()
        if json.loads(line)["event"] == "step"
    ]
    assert steps == [1, 11, 21]
    assert not list((tmp_path / "killed").glob(".*.part"))
