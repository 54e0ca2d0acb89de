"""A part is added as the README says: one file in its folder, and nothing else is edited."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the package with the README's example in the folder of attention."""
    package = tmp_path / "napari_attnseg"
    shutil.copytree(
        ROOT / "napari_attnseg",
        package,
        ignore=shutil.ignore_patterns("__pycache__"),
        symlinks=True,
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Add a part")[2]
    (example,) = re.findall(r"```python\n(.*?)```", readme.partition("\n## ")[0], re.DOTALL)
    (package / "models" / "attention" / "half.py").write_text(example, encoding="utf-8")
    return tmp_path


def test_the_module_in_the_readme_is_listed_and_built(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", USE_IT], cwd=checkout, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "half" in found["names"]
    assert found["pairs"] >= 4
    assert found["is_half"]
