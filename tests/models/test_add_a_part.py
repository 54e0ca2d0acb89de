"""A part is added as the README says: one file in its folder, and nothing else is edited."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

SHADE = '''"""Weigh voxels by how bright they are."""

import torch
from torch import Tensor

from napari_attnseg.axes import CHANNEL
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.recording import AttentionMap


@ATTENTION.register("shade")
class Shade(AttentionModule):
    """Weighs voxels by how bright they are."""

    title = "Shade"
    default_sites = ("encoder",)
    kinds = ("spatial",)

    def __init__(self, channels: int, *, dims: int = 3, context_channels: int | None = None):
        super().__init__()
        self.map = AttentionMap("spatial")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x * self.map(torch.sigmoid(x.mean(dim=CHANNEL, keepdim=True)))
'''

USE_SHADE = """
import json
import torch
from napari_attnseg import ModelConfig, build_model
from napari_attnseg.models import describe_model, record
config = ModelConfig("unet3d", "shade", ("encoder:0", "head"))
model = build_model(config).eval()
with torch.no_grad(), record(model) as recorded:
    model(torch.rand(1, 1, 8, 12, 16))
levels = describe_model(config)["levels"]
print(json.dumps({
    "recorded": [one.name for one in recorded],
    "drawn": [name for level in levels for name in level["attention"]],
    "maps": [name for level in levels for name in level["maps"]],
}))
"""

CONTRACT = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("pairs", sys.argv[1])
pairs = importlib.util.module_from_spec(spec)
sys.modules["pairs"] = pairs
spec.loader.exec_module(pairs)
names = {str(case.attention) for case in pairs.each_pair_once()}
print(json.dumps(sorted(names & {"half", "shade"})))
"""

WINDOW = """
import json, time
import napari
from qtpy.QtWidgets import QApplication
from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.panels.model import ModelPanel
from napari_attnseg.models import list_models

class Runner:
    def start(self, kind, settings, on_event):
        on_event({"event": "state", "state": "RUNNING"})
        if kind == "models":
            on_event({"event": "result", **list_models()})
            on_event({"event": "state", "state": "DONE"})
        return self

    def stop(self):
        pass

    close = detach = stop

viewer = napari.Viewer(show=False)
bench = Bench(viewer, Runner())
panel = ModelPanel(bench)
bench.session.model.load_catalogue()
until, found = time.monotonic() + 60, []
while "half" not in found and time.monotonic() < until:
    QApplication.processEvents()
    found = [panel.attention.itemData(index) for index in range(panel.attention.count())]
titles = [panel.attention.itemText(index) for index in range(panel.attention.count())]
print(json.dumps({"names": found, "titles": titles}))
viewer.close()
"""

USE_IT = """
import json
import torch
from napari_attnseg import ModelConfig, build_model, list_models
names = [one["name"] for one in list_models()["attentions"]]
pairs = [one for one in list_models()["pairs"] if one["attention"] == "half"]
plain, half = (
    build_model(ModelConfig("unet3d", attention, ("encoder:0",), 3)).eval()
    for attention in ("none", "half")
)
half.load_state_dict(plain.state_dict())
x, seen = torch.rand(1, 1, 8, 12, 16), []
for model in (plain, half):
    model.layer("encoder0").register_forward_hook(lambda *args: seen.append(args[-1]))
    model(x)
is_half = torch.allclose(seen[1], seen[0] / 2)
print(json.dumps({"names": names, "pairs": len(pairs), "is_half": is_half}))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package with two more modules, one of them the README's."""
    package = tmp_path_factory.mktemp("checkout") / "napari_attnseg"
    shutil.copytree(
        ROOT / "napari_attnseg",
        package,
        ignore=shutil.ignore_patterns("__pycache__"),
        symlinks=True,
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Add a part")[2]
    (example,) = re.findall(r"```python\n(.*?)```", readme.partition("\n## ")[0], re.DOTALL)
    (package / "models" / "attention" / "half.py").write_text(example, encoding="utf-8")
    (package / "models" / "attention" / "shade.py").write_text(SHADE, encoding="utf-8")
    return package.parent


def told_by(code: str, checkout: Path, *arguments: str) -> Any:
    """Return the last line of a program that runs on the copy, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_module_in_the_readme_is_listed_and_built(checkout: Path) -> None:
    found = told_by(USE_IT, checkout)

    assert "half" in found["names"]
    assert found["pairs"] >= 4
    assert found["is_half"]


def test_a_new_module_is_drawn_and_shows_its_maps(checkout: Path) -> None:
    found = told_by(USE_SHADE, checkout)

    assert found["recorded"] == ["encoder0.shade.spatial", "head.shade.spatial"]
    assert found["drawn"] == ["encoder0.shade", "head.shade"]
    assert sorted(found["maps"]) == sorted(found["recorded"])


def test_a_new_module_is_held_to_the_contract_of_all(checkout: Path) -> None:
    conftest = Path(__file__).with_name("conftest.py")

    assert told_by(CONTRACT, checkout, str(conftest)) == ["half", "shade"]


@pytest.mark.gui
def test_a_new_module_is_in_the_menu_of_the_window(checkout: Path) -> None:
    found = told_by(WINDOW, checkout)

    assert {"half", "shade"} <= set(found["names"])
    assert "Shade" in found["titles"]
