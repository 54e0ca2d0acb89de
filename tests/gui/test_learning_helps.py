"""On real volumes: a network that learns from a person's labels gets better on fixed cases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.gui.bench import bench_of
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import read_volume

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(1500)]

LABELLED, UNLABELLED = 10, 3
MINUTES = 1.0
PATIENCE_MS = 600_000


@pytest.fixture
def workbench(make_napari_viewer: Any) -> Iterator[Workbench]:
    viewer = make_napari_viewer()
    made = Workbench(viewer)
    viewer.window.add_dock_widget(made, name="Workbench")
    yield made
    bench = bench_of(viewer)
    bench.layers.is_changed = False
    bench.close()


def partly_labelled(source: Path, folder: Path) -> dict[str, Path]:
    """Copy a few cases, the last of them without a label; returns the labels held back."""
    dataset = json.loads((source / "dataset.json").read_text())
    entries = sorted(dataset["training"], key=lambda one: one["image"])[::14]
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    held_back = {}
    for number, one in enumerate(entries[: LABELLED + UNLABELLED]):
        name = Path(one["image"]).name
        shutil.copy(source / "imagesTr" / name, folder / "imagesTr" / name)
        if number < LABELLED:
            shutil.copy(source / "labelsTr" / name, folder / "labelsTr" / name)
        else:
            held_back[name.removesuffix(".nii.gz")] = source / "labelsTr" / name
    return held_back


def test_learning_from_cases_labelled_in_the_window_improves_the_fixed_cases(
    workbench: Workbench,
    qtbot: Any,
    tmp_path: Path,
    shared_data: Path,
    record_property: Any,
) -> None:
    session = workbench.session
    held_back = partly_labelled(shared_data / "hippocampus", tmp_path / "cases")

    def wait(until: Any) -> None:
        qtbot.waitUntil(lambda: bool(workbench.messages.boxes) or until(), timeout=PATIENCE_MS)
        assert not workbench.messages.boxes, workbench.messages.boxes[0].problem.text

    session.cases.open_folder(tmp_path / "cases")
    wait(lambda: len(session.cases.rows) == LABELLED + UNLABELLED)
    wait(lambda: bool(session.model.catalogue))
    session.training.start({"minutes": MINUTES})
    wait(lambda: session.model.run is not None and not session.training.is_running)

    means = []
    learn = workbench.panel("Segment").correction.learn
    for name, label in held_back.items():
        workbench.bench.open_case(name)
        wait(lambda name=name: session.cases.case is not None and session.cases.case.name == name)
        workbench.bench.layers.set_labels(read_volume(label, labels=True).data[0])
        wait(learn.isEnabled)
        learn.click()
        wait(lambda: session.training.comparison is not None and not session.training.is_running)
        before, after = session.training.comparison.means
        means += [before, after] if not means else [after]
        workbench.panel("Segment").correction.table.keep.click()
        wait(lambda: session.training.comparison is None and session.model.run is not None)

    record_property("mean Dice of the fixed cases, before and after each case", means)
    assert means[-1] > means[0], means
