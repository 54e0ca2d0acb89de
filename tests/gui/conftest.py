from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest

from napari_attnseg.config import ModelConfig
from napari_attnseg.gui import bench as bench_module
from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import write_volume
from napari_attnseg.volume import Volume

CLASSES = {1: "anterior", 2: "posterior"}
SHAPE = (10, 12, 14)


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fake_jobs = sys.modules.get("fake_jobs") or _load("fake_jobs")


def affine() -> np.ndarray:
    """An LPS grid with three voxel sizes, away from the origin."""
    made = np.diag([-1.0, -1.5, 2.0, 1.0])
    made[:3, 3] = (20, 30, -15)
    return made


def label_map(shift: int = 0) -> np.ndarray:
    data = np.zeros((1, *SHAPE), dtype=np.uint8)
    data[0, 2:8, 3:6, 4 + shift : 9 + shift] = 1
    data[0, 2:8, 6:9, 4 + shift : 9 + shift] = 2
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six cases, five of them with labels, as a Decathlon data set."""
    root = tmp_path / "Task"
    entries = []
    for n in range(1, 7):
        noise = np.random.default_rng(n).normal(size=(1, *SHAPE)).astype(np.float32)
        label = label_map(n % 3)
        name = f"case_{n:03d}.nii.gz"
        write_volume(root / "imagesTr" / name, Volume(noise + 2 * label, affine()))
        if n < 6:
            write_volume(root / "labelsTr" / name, Volume(label, affine()))
            entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    dataset = {
        "name": "Task",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", **{str(value): name for value, name in CLASSES.items()}},
        "training": entries,
        "test": ["./imagesTr/case_006.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    return root


@pytest.fixture
def runner() -> Any:
    return fake_jobs.FakeRunner()


@pytest.fixture
def workbench(make_napari_viewer: Any, runner: Any, qtbot: Any) -> Iterator[Workbench]:
    viewer = make_napari_viewer()
    bench = Bench(viewer, runner)
    bench_module._BENCHES[id(viewer)] = bench
    made = Workbench(viewer)
    viewer.window.add_dock_widget(made, name="Workbench")
    yield made
    bench.layers.is_changed = False
    bench.close()


@pytest.fixture
def settled(qtbot: Any, workbench: Workbench) -> Callable[[], None]:
    """Wait until everything in the background is done and shown."""

    def wait() -> None:
        qtbot.waitUntil(lambda: workbench.session.background.is_idle, timeout=20_000)

    return wait


@pytest.fixture
def opened(workbench: Workbench, folder: Path, settled: Callable[[], None]) -> Workbench:
    """A workbench with the six cases."""
    workbench.session.cases.open_folder(folder)
    settled()
    return workbench


@pytest.fixture
def make_run(opened: Workbench, settled: Callable[[], None]) -> Callable[..., str]:
    """Put the files of a trained run into the project."""

    def make(dice: float = 0.8, state: str = "done") -> str:
        project = opened.session.cases.project
        assert project is not None
        run = project.new_run_dir()
        config = ModelConfig(attention="se", out_channels=3).to_dict()
        values = {str(value): name for value, name in CLASSES.items()}
        write = {
            "config.json": {"model": config, "classes": values, "channels": ["MRI"]},
            "plan.json": {"spacing_dhw": [2.0, 1.5, 1.0]},
            "result.json": {"state": state, "validation": {"mean": {"1": dice, "2": dice}}},
        }
        for name, content in write.items():
            (run / name).write_text(json.dumps(content), encoding="utf-8")
        (run / "weights.safetensors").touch()
        if state != "done":
            (run / "resume.pt").touch()
        opened.session.model.refresh_runs()
        settled()
        return str(run.name)

    return make


def predicted_file(workbench: Workbench, run: str, case: str) -> dict[str, Any]:
    """Write a mask as a child would, and return its event."""
    project = workbench.session.cases.project
    assert project is not None
    path = Path(project.predictions_dir(run)) / f"{case}.nii.gz"
    write_volume(path, Volume(label_map(1), affine()))
    return {
        "name": case,
        "labels": str(path),
        "probabilities": None,
        "uncertainty": None,
        "volumes_ml": {"1": 0.27, "2": 0.27},
        "warnings": [],
    }


@pytest.fixture
def predict_file() -> Callable[..., dict[str, Any]]:
    return predicted_file


def open_named(workbench: Workbench, name: str, settled: Callable[[], None]) -> napari.Viewer:
    workbench.bench.open_case(name)
    settled()
    return workbench.bench.viewer
