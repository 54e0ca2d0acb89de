"""Volumes larger than one wants in memory: on screen from their file, slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QProgressDialog, QPushButton

from napari_attnseg.gui import npe2_reader
from napari_attnseg.gui.waiting import wait_for
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import write_volume
from napari_attnseg.volume import Volume

pytestmark = pytest.mark.gui

SHAPE = (12, 30, 40)


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let a small volume be taken for one that is too large for memory."""
    from napari_attnseg.io import opening

    monkeypatch.setenv("ATTNSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(opening.__kwdefaults__, "larger_than", 1000)


def image() -> Volume:
    noise = np.random.default_rng(0).normal(100, 20, size=(1, *SHAPE)).astype(np.float32)
    return Volume(noise, np.diag([1.0, 1.0, 2.0, 1.0]))


@pytest.mark.parametrize("name", ["large.nii", "large.nii.gz", "large.mha", "large.nrrd"])
def test_a_large_volume_is_opened_in_napari_without_reading_it_whole(
    tmp_path: Path, name: str, make_napari_viewer: Any
) -> None:
    volume = image()
    path = write_volume(tmp_path / name, volume)
    viewer = make_napari_viewer()

    ((data, attributes, kind),) = npe2_reader.read(str(path))
    viewer.add_image(data, **attributes)
    viewer.dims.set_current_step(0, 7)

    assert kind == "image"
    assert not isinstance(data, np.ndarray)
    shown = np.asarray(viewer.layers[0]._slice.image.raw)
    assert shown.shape == SHAPE[1:]
    assert any(np.array_equal(shown, plane) for plane in volume.data[0])


def test_a_large_case_is_shown_from_its_file_and_can_be_painted_on(
    workbench: Workbench, tmp_path: Path, settled: Callable[[], None]
) -> None:
    path = write_volume(tmp_path / "large.nii.gz", image())
    workbench.session.cases.add_files([path])
    settled()
    workbench.bench.open_case("large")
    settled()

    layers = workbench.bench.layers
    assert layers.case.image.is_lazy
    layers.labels.paint((5, 6, 7), 1)
    workbench.bench.save_labels("corrected")
    settled()
    assert workbench.session.cases.row("large").status == "corrected"


def test_a_volume_rendering_of_a_large_volume_is_refused_in_words(
    workbench: Workbench, tmp_path: Path, settled: Callable[[], None]
) -> None:
    path = write_volume(tmp_path / "large.nii", image())
    workbench.session.cases.add_files([path])
    settled()
    workbench.bench.open_case("large")
    settled()

    workbench.bench.planes.show_volume()

    assert workbench.bench.viewer.dims.ndisplay == 2
    assert "too large" in workbench.messages.line.text()


def test_a_case_that_is_left_while_it_is_unpacked_does_not_come_back(
    workbench: Workbench, tmp_path: Path, settled: Callable[[], None]
) -> None:
    names = ("first", "second")
    paths = [write_volume(tmp_path / f"{name}.nii.gz", image()) for name in names]
    workbench.session.cases.add_files(paths)
    settled()

    workbench.bench.open_case("first")
    workbench.bench.open_case("second")
    settled()

    assert workbench.bench.layers.case.name == "second"
    assert not workbench.messages.boxes


class Step:
    total = 10

    def __init__(self, done: int) -> None:
        self.done = done


def test_what_is_waited_for_can_be_stopped(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    ended = []

    def endless() -> Any:
        try:
            while True:
                time.sleep(0.01)
                yield Step(3)
        finally:
            ended.append(True)

    # Pressing the dialog's button is what cancels it.
    real = QProgressDialog.setValue

    def press_stop(self: QProgressDialog, value: int) -> None:
        real(self, value)
        if value == 30:
            self.findChild(QPushButton).click()

    monkeypatch.setattr(QProgressDialog, "setValue", press_stop)

    assert wait_for(endless(), "Opening") is None
    assert ended == [True]


def test_an_error_while_waiting_reaches_whoever_waits(qtbot: Any) -> None:
    def failing() -> Any:
        yield Step(1)
        raise ValueError("It is damaged.")

    with pytest.raises(ValueError, match="damaged"):
        wait_for(failing(), "Opening")
