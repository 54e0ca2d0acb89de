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
from napari_attnseg.gui.panel import panels_in_order
from napari_attnseg.gui.viewer.facts import facts_of

PACKAGE = Path(npe2_widgets.__file__).parent.parent
MANIFEST = PluginManifest.from_file(PACKAGE.parent / "napari.yaml")
SAMPLES = [sample.command for sample in MANIFEST.contributions.sample_data]
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


def test_only_volumes_are_claimed() -> None:
    (reader,) = MANIFEST.contributions.readers

    assert set(reader.filename_patterns) == {"*.nii", "*.nii.gz"}


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
