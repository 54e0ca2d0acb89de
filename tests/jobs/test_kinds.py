"""The real kinds of jobs in real children: train, predict, explain, evaluate, and the rest."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.cohort import Case, Cohort
from napari_attnseg.cohort.project import Project
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.jobs import Job, JobProcess, Runner, State
from napari_attnseg.jobs.cache import RunCache
from napari_attnseg.volume import Volume

Until = Callable[[Callable[[], bool]], None]
MODEL = {"backbone": "unet3d", "attention": "cbam", "preset": "tiny"}
QUICK = {"patch_size": [8, 16, 16], "batch_size": 1, "steps_per_epoch": 3, "device": "cpu"}
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of five small cases with a box in each."""
    folder = tmp_path_factory.mktemp("cases")
    cases = []
    for index in range(5):
        size = (12 + index, 18, 20 - index)
        label = np.zeros((1, *size), dtype=np.uint8)
        label[0, 3:8, 4:12, 5:13] = 1
        noise = np.random.default_rng(index).normal(0, 0.1, label.shape)
        affine = np.diag([1.0, 1.5, 2.0, 1.0])
        image = Volume((label + noise).astype(np.float32), affine)
        paths = folder / f"{index}.nii.gz", folder / f"{index}_label.nii.gz"
        write_volume(paths[0], image)
        write_volume(paths[1], Volume(label, affine))
        cases.append(Case(f"case_{index}", {"MR": paths[0]}, paths[1]))
    path = folder / "project"
    Project.create(path, Cohort("boxes", tuple(cases), {1: "box"}, ("MR",)))
    return path


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def run(project: Path, runner: Runner) -> Path:
    """Return a trained run."""
    settings = {"project": str(project), "model": MODEL, "train": {**QUICK, "epochs": 2}}
    handle = runner.start("train", settings)
    assert handle.wait(120) is State.DONE, handle.trouble
    return project / "runs" / "001"


def images_of(project: Path, name: str) -> dict[str, Any]:
    case = Project.open(project).case(name)
    return {"name": name, "images": {key: str(path) for key, path in case.images.items()}}


def test_a_killed_training_is_lost_and_can_be_resumed(
    project: Path, run: Path, until: Until
) -> None:
    train = {**QUICK, "epochs": 40}
    events: list[dict[str, Any]] = []
    job = Job("train", {"project": str(project), "model": MODEL, "train": train})
    process = JobProcess(job, events.append).start()
    until(lambda: any(event["event"] == "checkpoint" for event in events))
    lost = Path(next(event["path"] for event in events if event["event"] == "checkpoint")).parent

    os.kill(process.pid or 0, signal.SIGKILL)

    assert process.wait(10) is State.LOST
    assert process.trouble is not None
    assert "Resume" in process.trouble.next_step
    resumed = JobProcess(Job("train", {"project": str(project), "resume": str(lost)})).start()
    assert resumed.wait(120) is State.DONE, resumed.trouble
    assert (resumed.result or {})["run"] == lost.name


def test_a_stopped_training_keeps_a_checkpoint(project: Path, run: Path, until: Until) -> None:
    train = {**QUICK, "epochs": 1000}
    events: list[dict[str, Any]] = []
    job = Job("train", {"project": str(project), "model": MODEL, "train": train})
    process = JobProcess(job, events.append).start()
    until(lambda: any(event["event"] == "step" for event in events))

    process.stop()

    assert process.wait(30) is State.STOPPED
    result = process.result or {}
    assert result["state"] == "stopped"
    assert (project / "runs" / result["run"] / "resume.pt").is_file()


def test_a_mask_is_predicted_on_the_grid_of_the_image(
    project: Path, run: Path, runner: Runner, tmp_path: Path
) -> None:
    events: list[dict[str, Any]] = []
    one = images_of(project, "case_2")
    settings = {"run": str(run), "inputs": [one], "out": str(tmp_path), "settings": {}}

    handle = runner.start("predict", settings, events.append)

    assert handle.wait(60) is State.DONE, handle.trouble
    case = next(event for event in events if event["event"] == "case")
    mask, image = read_volume(case["labels"], labels=True), read_volume(one["images"]["MR"])
    assert mask.shape_dhw == image.shape_dhw
    voxels = int((mask.data == 1).sum())
    assert case["volumes_ml"]["1"] == pytest.approx(voxels * 1.0 * 1.5 * 2.0 / 1000)


def test_an_existing_mask_is_not_overwritten_unasked(
    project: Path, run: Path, runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "case_2.nii.gz").write_bytes(b"mine")
    inputs = [images_of(project, "case_2")]

    handle = runner.start("predict", {"run": str(run), "inputs": inputs, "out": str(tmp_path)})

    assert handle.wait(60) is State.FAILED
    assert (tmp_path / "case_2.nii.gz").read_bytes() == b"mine"


def test_a_map_and_the_attention_are_told_with_their_files(
    project: Path, run: Path, runner: Runner, tmp_path: Path
) -> None:
    events: list[dict[str, Any]] = []
    settings = {
        "run": str(run),
        "input": images_of(project, "case_1"),
        "out": str(tmp_path),
        "target": 1,
        "method": "hires-cam",
        "layer": None,
        "attention": True,
    }

    handle = runner.start("explain", settings, events.append)

    assert handle.wait(60) is State.DONE, handle.trouble
    first, second = (event for event in events if event["event"] == "map")
    assert first["info"]["class"] == 1
    assert (first["path"] is None) == bool(first["info"]["reason"])
    spatial = [one for one in second["info"]["numbers"].values() if one["kind"] == "spatial"]
    assert spatial
    assert all(Path(one["path"]).is_file() for one in spatial)


def test_scores_are_those_of_the_checked_cases(project: Path, run: Path, runner: Runner) -> None:
    opened = Project.open(project)
    names = [case.name for case in opened.validation_cases()]
    inputs = [images_of(project, name) for name in names]
    out = str(opened.predictions_dir(run.name))
    settings = {"run": str(run), "inputs": inputs, "out": out, "overwrite": True}
    assert runner.start("predict", settings).wait(60) is State.DONE

    handle = runner.start("evaluate", {"project": str(project), "run": str(run)})

    assert handle.wait(60) is State.DONE, handle.trouble
    result = handle.result or {}
    assert [case["case"] for case in result["cases"]] == names
    assert result["cases"][0]["classes"]["1"]["name"] == "box"


def test_scores_of_a_run_that_predicted_nothing_are_refused(
    project: Path, run: Path, runner: Runner, tmp_path: Path
) -> None:
    settings = {"project": str(project), "run": str(run), "set": "train"}

    handle = runner.start("evaluate", settings)

    assert handle.wait(60) is State.FAILED
    assert "segment them first" in (handle.trouble.text if handle.trouble else "")


def test_a_network_is_described_with_what_it_costs(project: Path, runner: Runner) -> None:
    model = {"backbone": "unet3d", "attention": "se", "preset": "plan"}

    handle = runner.start("describe_model", {"model": model, "project": str(project)})

    assert handle.wait(60) is State.DONE, handle.trouble
    result = handle.result or {}
    assert result["parameters"] > 0
    assert result["model"]["options"]["widths"]
    assert len(result["spacing_dhw"]) == 3
    assert any(level["attention"] for level in result["levels"])


def test_a_network_is_measured_once_on_this_machine(
    project: Path, runner: Runner, tmp_path: Path
) -> None:
    model = {"backbone": "unet3d", "attention": "se", "preset": "plan"}
    settings = {"model": model, "project": str(project), "device": "cpu", "cache": str(tmp_path)}

    handle = runner.start("measure_model", settings)
    assert handle.wait(120) is State.DONE, handle.trouble
    again = runner.start("measure_model", {**settings, "only_known": True})

    assert again.wait(60) is State.DONE, again.trouble
    first, second = handle.result or {}, again.result or {}
    assert first == second
    assert first["window_seconds"] > 0
    assert first["step_bytes"] > 0
    assert first["note"] == ""


def test_the_windows_of_a_case_are_those_of_prediction(runner: Runner) -> None:
    settings = {
        "plan": {"patch_size": [16, 16, 16], "spacing_dhw": [1, 1, 1], "dims": 3},
        "size_multiple": [4, 4, 4],
        "context_margin": [0, 0, 0],
        "shape_dhw": [16, 24, 20],
        "affine": [[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    }

    handle = runner.start("count_windows", settings)

    # 48 voxels along H from every eighth, 20 along W from two starts.
    assert handle.wait(60) is State.DONE, handle.trouble
    assert (handle.result or {})["windows"] == 1 * 5 * 2


@pytest.mark.parametrize(("kind", "key"), [("models", "pairs"), ("device", "precision")])
def test_what_there_is_can_be_asked_for(kind: str, key: str, runner: Runner) -> None:
    handle = runner.start(kind, {})

    assert handle.wait(60) is State.DONE, handle.trouble
    assert key in (handle.result or {})


def test_a_run_stays_loaded_until_its_weights_change(run: Path) -> None:
    cache = RunCache()
    first = cache.load(run, device="cpu")

    again = cache.load(run, device="cpu")
    weights = run / "weights.safetensors"
    weights.write_bytes((run / "last.safetensors").read_bytes())
    changed = cache.load(run, device="cpu")

    assert again is first
    assert changed is not first or changed.weights_sha256 == first.weights_sha256
