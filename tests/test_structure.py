"""The house rules that a reader relies on, checked on the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "napari_attnseg"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "napari", "qtpy", "monai", "scipy", "SimpleITK", "nibabel")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_short_and_says_what_it_is_for(module: Path) -> None:
    text = module.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import napari_attnseg").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "module", ["session", "jobs", "cohort", "cohort.project", "io", "volume", "config"]
)
def test_what_the_window_uses_does_not_load_torch(module: str) -> None:
    assert "torch" not in loaded_after(f"import napari_attnseg.{module}")


def test_the_window_itself_does_not_load_torch() -> None:
    pytest.importorskip("napari")
    loaded = loaded_after("import napari_attnseg.gui.workbench")

    assert not loaded & {"torch", "monai"}


def test_no_checkpoint_is_read_with_pickle() -> None:
    for module in MODULES:
        for line in module.read_text(encoding="utf-8").splitlines():
            assert "torch.load(" not in line or "weights_only=True" in line, f"{module}: {line}"
            assert "import pickle" not in line, module
