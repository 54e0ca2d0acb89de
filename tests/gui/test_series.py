"""Folders in which several DICOM series lie together: the person says which are meant."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from napari_attnseg.gui import npe2_reader
from napari_attnseg.gui.panels import cases as cases_panel
from napari_attnseg.gui.questions import SeriesDialog
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import read_volume

pytestmark = pytest.mark.gui


@pytest.fixture
def heap(tmp_path: Path, shared_data: Path) -> Path:
    """Two series in one folder; the second is half as bright and has fewer slices."""
    folder = tmp_path / "examination"
    folder.mkdir()
    source = sorted((shared_data / "dicom" / "mr_with_nifti_truth" / "001").rglob("*.dcm"))
    uid = generate_uid()
    for number, path in enumerate(source):
        shutil.copy(path, folder / f"a{number}.dcm")
        if number == 0:
            continue
        one = pydicom.dcmread(path)
        one.SeriesInstanceUID, one.SOPInstanceUID = uid, generate_uid()
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.SeriesNumber, one.SeriesDescription = 902, "half as bright"
        one.PixelData = (one.pixel_array // 2).astype(one.pixel_array.dtype).tobytes()
        one.save_as(folder / f"b{number}.dcm")
    return folder


def answer(numbers: list[int], asked: list[Any]) -> Callable[..., list[int]]:
    def ask(name: str, titles: Any, **_: Any) -> list[int]:
        asked.append((name, tuple(titles)))
        return numbers

    return ask


def test_a_folder_of_two_series_becomes_the_cases_that_were_chosen(
    workbench: Workbench,
    heap: Path,
    settled: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(cases_panel, "ask_series", answer([1, 2], asked))

    workbench.session.cases.open_folder(heap)
    settled()
    settled()

    assert len(asked[0][1]) == 2
    assert [row.name for row in workbench.session.cases.rows] == [
        "examination_series1",
        "examination_series2",
    ]
    for number in (1, 2):
        workbench.bench.open_case(f"examination_series{number}")
        settled()
        shown = workbench.bench.layers.case.image
        truth = read_volume(heap, series=number)
        assert np.array_equal(shown.data, truth.data)
        assert shown.grid.difference(truth.grid) is None


def test_choosing_no_series_opens_nothing(
    workbench: Workbench,
    heap: Path,
    settled: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cases_panel, "ask_series", answer([], []))

    workbench.session.cases.open_folder(heap)
    settled()

    assert not workbench.session.cases.rows
    assert not workbench.messages.boxes


def test_napari_asks_which_series_of_a_folder_to_open(
    heap: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(npe2_reader, "ask_series", answer([2], asked))

    ((data, _, _),) = npe2_reader.read(str(heap))

    assert np.array_equal(data, read_volume(heap, series=2).data[0])


def test_a_tilted_series_is_resampled_only_when_the_person_says_so(
    shared_data: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tilted = shared_data / "dicom" / "irregular" / "gantrytilting"
    if not tilted.is_dir():
        pytest.skip("no tilted series among the real volumes")
    answers = iter([False, True])
    monkeypatch.setattr(npe2_reader, "ask_remedy", lambda *_: next(answers))

    assert npe2_reader.read(str(tilted)) == [npe2_reader.NO_LAYER]
    ((data, _, _),) = npe2_reader.read(str(tilted))

    assert np.array_equal(data, read_volume(tilted, remedy="resample").data[0])


def test_the_dialog_lists_the_series_and_tells_which_were_chosen(qtbot: Any) -> None:
    dialog = SeriesDialog("examination", ("T1, 24 slices", "T2, 30 slices"), several=True)
    qtbot.addWidget(dialog)

    dialog.list.selectAll()

    assert dialog.list.count() == 2
    assert "T2, 30 slices" in dialog.list.item(1).text()
    assert dialog.chosen() == [1, 2]
