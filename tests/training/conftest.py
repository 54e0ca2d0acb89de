from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.io import write_volume
from napari_attnseg.preprocessing import Plan
from napari_attnseg.preprocessing.plan import ChannelPlan
from napari_attnseg.training import FitTask, TrainingCase
from napari_attnseg.volume import Volume

SHAPE = (12, 14, 18)


def make_case(folder: Path, seed: int) -> TrainingCase:
    """Write a noisy volume with a bright block (1) and a dark one (2) somewhere in it."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.3, SHAPE)
    label = np.zeros(SHAPE, dtype=np.uint8)
    for value, brightness in ((1, 4.0), (2, -4.0)):
        at = [int(rng.integers(0, n - 6)) for n in SHAPE]
        at[2] = at[2] % 3 + (10 if value == 2 else 0)
        block = tuple(slice(start, start + 6) for start in at)
        image[block] += brightness
        label[block] = value
    name = f"case_{seed:02d}"
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    write_volume(folder / f"{name}.nii.gz", Volume(image[None].astype(np.float32), affine))
    write_volume(folder / f"{name}_label.nii.gz", Volume(label[None], affine))
    return TrainingCase(name, {"MR": folder / f"{name}.nii.gz"}, folder / f"{name}_label.nii.gz")


@pytest.fixture(scope="session")
def made_cases(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingCase]:
    folder = tmp_path_factory.mktemp("cases")
    return [make_case(folder, seed) for seed in range(6)]


TINY = ModelConfig(backbone="unet3d", attention="se", out_channels=3, options={"widths": [4, 8]})


def _small_plan(**changes: Any) -> Plan:
    facts = {
        "patch_size": (8, 12, 16),
        "batch_size": 2,
        "channels": (ChannelPlan(name="MR"),),
        "class_values": (1, 2),
    }
    return Plan(**{**facts, **changes})


@pytest.fixture
def make_task(made_cases: list[TrainingCase], tmp_path: Path) -> Callable[..., FitTask]:
    def make(*, train: TrainConfig | None = None, **changes: Any) -> FitTask:
        facts: dict[str, Any] = {
            "cases": made_cases[:4],
            "validation": made_cases[4:],
            "plan": _small_plan(),
            "model": TINY,
            "train": train or TrainConfig(epochs=2),
            "run_dir": tmp_path / "runs" / "001",
            "classes": {1: "bright", 2: "dark"},
            "channels": ["MR"],
        }
        return FitTask(**{**facts, **changes})

    return make


@pytest.fixture(scope="session")
def small_plan() -> Callable[..., Plan]:
    return _small_plan


@pytest.fixture(scope="session")
def finish() -> Callable[[Generator[Any, None, Any]], tuple[list[Any], Any]]:
    def run(steps: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
        reports = []
        while True:
            try:
                reports.append(next(steps))
            except StopIteration as end:
                return reports, end.value

    return run
