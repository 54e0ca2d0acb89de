from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer
from npe2 import PluginManifest

from napari_attnseg.gui import npe2_widgets
from napari_attnseg.gui.bench import bench_of
from napari_attnseg.gui.npe2_reader import claimed_suffixes, get_reader, read
from napari_attnseg.gui.panel import panels_in_order
from napari_attnseg.gui.panels.cases import file_filter
from napari_attnseg.gui.viewer.facts import facts_of
from napari_attnseg.io import FORMATS, VolumeError, write_volume
from napari_attnseg.volume import Volume

PACKAGE = Path(npe2_widgets.__file__).parent.parent
MANIFEST = PluginManifest.from_file(PACKAGE.parent / "napari.yaml")
SAMPLES = [sample.command for sample in MANIFEST.contributions.sample_data]
WRITTEN = [one for part in FORMATS.values() for one in (*part.suffixes, *part.named_suffixes)]
DOCKS = [
    command.python_name.split(":")[1]
    for command in MANIFEST.contributions.commands
    if "npe2_widgets" in str(command.python_name)
]


def function_of(command_id: str) -> Any:
    command = next(c for c in MANIFEST.contributions.commands if c.id == command_id)
    module, name = str(command.python_name).split(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("command", [c.id for c in MANIFEST.contributions.commands])
def test_every_command_can_be_imported(command: str) -> None:
    assert callable(function_of(command))


def test_the_package_holds_the_manifest_as_a_relative_link() -> None:
    inside = PACKAGE / "napari.yaml"

    assert inside.read_text(encoding="utf-8") == (PACKAGE.parent / "napari.yaml").read_text(
        encoding="utf-8"
    )
    assert not inside.is_symlink() or not inside.readlink().is_absolute()


def test_every_ending_of_a_volume_is_claimed_and_no_other() -> None:
    (reader,) = MANIFEST.contributions.readers
    all_endings = {
        one for part in FORMATS.values() for one in (*part.suffixes, *part.named_suffixes)
    }

    pictures_and_surfaces = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".stl"}
    wanted = {f"*{one}" for one in all_endings - pictures_and_surfaces}
    assert set(reader.filename_patterns) == wanted
    assert len(reader.filename_patterns) == len(wanted)


@pytest.mark.parametrize("command", ["write_labels", "write_image", "write_channels"])
def test_every_ending_that_can_be_written_is_offered_and_no_other(
    command: str, tmp_path: Path
) -> None:
    offered = next(
        one.filename_extensions
        for one in MANIFEST.contributions.writers
        if one.command.endswith(command)
    )

    # Of DICOM, only segmentations are written, and those beside the series they belong to.
    segmentations = {".dcm", ".dicom", ".ima"} if command == "write_labels" else set()
    assert set(offered) == {one for one in WRITTEN if is_written(one, command, tmp_path)} | (
        segmentations
    )


def is_written(suffix: str, command: str, folder: Path) -> bool:
    label = np.zeros((1, 6, 7, 8), dtype=np.uint8)
    label[0, 2:4, 2:5, 2:6] = 1
    data = label if command == "write_labels" else label + np.float32(0.5)
    # GIPL cannot say which way a volume lies; it takes those that lie as ITK's do.
    volume = Volume(data, np.diag([-1.0, -2.0, 3.0, 1.0]))
    try:
        write_volume(folder / f"volume{suffix}", volume)
    except VolumeError:
        return False
    return True


def test_a_folder_is_opened_only_if_it_is_a_series(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no series")

    assert get_reader(str(tmp_path)) is None
    assert get_reader("scan.NII.GZ") is read
    assert get_reader("photo.png") is None
    assert get_reader([]) is None


def test_a_series_is_opened_by_its_folder(shared_data: Path) -> None:
    folder = next((shared_data / "dicom" / "hippocampus_mr_1").iterdir())

    reader = get_reader(str(folder))

    assert reader is not None
    (layer,) = reader(str(folder))
    assert layer[2] == "image"
    assert layer[0].ndim == 3


def test_the_file_dialog_offers_what_can_be_opened() -> None:
    shown = file_filter()

    assert all(f"*{one}" in shown.split(";;")[0] for one in claimed_suffixes())
    assert ".png" not in shown


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_opens_with_its_labels_over_its_image(sample: str) -> None:
    layers = [Layer.create(*one) for one in function_of(sample)()]

    facts = [facts_of(layer) for layer in layers]
    assert [one.role for one in facts][-1] == "labels"
    assert facts[0].volume.grid.difference(facts[-1].volume.grid) is None
    assert len(np.unique(layers[-1].data)) > 2


@pytest.mark.gui
def test_every_panel_is_a_dock_of_its_own_and_shares_the_session(
    make_napari_viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer()
    bench = bench_of(viewer)
    monkeypatch.setattr(bench.session.model, "load_catalogue", lambda: None)

    docks = [getattr(npe2_widgets, name)(viewer) for name in DOCKS]

    assert [dock.panel.title for dock in docks] == [one.title for one in panels_in_order()]
    assert {id(dock.bench) for dock in docks} == {id(bench)}
    assert not docks[3].panel.isEnabled()
    assert docks[3].messages.line.text() == "Choose or train a model first."
    bench.close()


def test_what_the_window_runs_never_loads_torch() -> None:
    code = (
        "import napari_attnseg.gui.workbench, napari_attnseg.gui.app, napari_attnseg.gui.demo;"
        "from napari_attnseg.gui.panel import PANELS; list(PANELS);"
        "import napari_attnseg.cohort.phantoms, napari_attnseg.cohort.project;"
        "import sys; print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
