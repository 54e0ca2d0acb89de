"""``attnseg doctor`` and ``attnseg models``: what this machine and this program can do."""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_attnseg import __version__
from napari_attnseg.cli.app import Device, Json, app, print_json, print_line
from napari_attnseg.cli.engine import run_job

_GIGABYTE = 2**30
_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can do: GPU, torch build, memory, Qt, write access."""
    device = run_job("device", {}, "Looking at the machine")
    qt, can_write = _qt(), _can_write(Path())
    if as_json:
        facts = {"version": __version__, "python": platform.python_version(), **device}
        print_json({**facts, "qt": qt, "can_write": can_write})
        return
    print_line(f"napari-attnseg  {__version__}, Python {platform.python_version()}")
    print_line(f"system          {platform.system()} {platform.release()}")
    print_line(f"processor       {device['cpu']}, {device['cores']} cores")
    print_line(f"memory          {_gigabytes(device.get('memory_bytes'))}")
    print_line(f"torch           {device['torch']}, {_build(device)}")
    for gpu in device["gpus"]:
        print_line(f"GPU             {gpu['name']}, {_gigabytes(gpu['memory_bytes'])}")
    bf16 = "native" if device["native_bf16"] else "not native, so not used"
    print_line(f"bfloat16        {bf16}")
    print_line(f"will use        {device['device']} in {device['precision']}")
    print_line(f"Qt              {qt['text']}")
    writable = "can be written" if can_write else "cannot be written; start from another folder"
    print_line(f"this folder     {writable}")


@app.command()
def models(  # noqa: PLR0913 - each option of the command is an argument
    backbone: Annotated[str, typer.Argument(help="With --cost: the network.")] = "",
    attention: Annotated[str, typer.Argument(help="With --cost: its attention.")] = "none",
    cost: Annotated[bool, typer.Option("--cost", help="Measure one on this machine.")] = False,
    preset: Annotated[str | None, typer.Option(help="With --cost: its size.")] = None,
    dims: Annotated[int | None, typer.Option(help="With --cost: 2 or 3.")] = None,
    project: Annotated[
        Path | None, typer.Option(help="With --cost: its plan sizes network and patches.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """List backbones, attention modules, sites, presets, parameter counts and pairs."""
    if cost != bool(backbone):
        raise typer.BadParameter("BACKBONE and --cost go together; without both all are listed")
    if cost:
        given = {"backbone": backbone, "attention": attention, "dims": dims, "preset": preset}
        _print_cost(_cost_of(given, project, device), as_json=as_json)
        return
    with contextlib.redirect_stdout(sys.stderr):
        from napari_attnseg.models import list_models

        found = list_models()
    if as_json:
        print_json(found)
        return
    _print_catalogue(found)


def _print_catalogue(found: dict[str, Any]) -> None:
    print_line("backbones")
    for backbone in found["backbones"]:
        for preset in backbone["presets"]:
            print_line(f"  {backbone['name']:10} {_preset(preset)}")
    print_line("attention")
    for attention in found["attentions"]:
        print_line(f"  {attention['name']:10} at {', '.join(attention.get('sites') or ['-'])}")
    if found["networks"]:
        print_line("published networks")
    for network in found["networks"]:
        for preset in network.get("presets") or [network]:
            print_line(f"  {network['name']:10} {_preset(preset)}")


def _cost_of(given: dict[str, Any], project: Path | None, device: str) -> dict[str, Any]:
    with contextlib.redirect_stdout(sys.stderr):
        from napari_attnseg.models.backbones import BACKBONES

        dims = given["dims"] or BACKBONES[given["backbone"]].dims[0]
    preset = given["preset"] or ("tiny" if project is None else "plan")
    model = {**given, "dims": dims, "preset": preset}
    settings: dict[str, Any] = {"model": model, "device": device}
    if project is not None:
        from napari_attnseg.cohort.project import Project

        opened = Project.open(project)
        settings["project"] = str(opened.path)
        settings["model"] |= {
            "in_channels": max(1, len(opened.channels)),
            "out_channels": len(opened.classes) + 1,
        }
    return run_job("measure_model", settings, "Measuring the network")


def _print_cost(cost: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(cost)
        return
    if cost.get("parameters"):
        patch = " x ".join(map(str, cost["patch_size"]))
        print_line(f"parameters      {cost['parameters']:,}")
        print_line(f"multiply-adds   {cost['multiply_adds']:,} a window of {patch} voxels")
        for name, what in (("window", "a window"), ("step", f"a step of {cost['batch_size']}")):
            print_line(f"{what:15} {_measured(cost, name)}")
        print_line(f"measured on     {cost['measured_on']}")
    if cost.get("note"):
        print_line(cost["note"])


def _measured(cost: dict[str, Any], name: str) -> str:
    seconds, size = cost[f"{name}_seconds"], cost[f"{name}_bytes"]
    time = "time not measured" if seconds is None else f"{seconds:.3g} s"
    if size is None:
        return f"{time}, at least {cost[f'predicted_{name}_bytes'] / 1e6:,.0f} MB"
    return f"{time}, {size / 1e6:,.0f} MB"


def _preset(preset: dict[str, Any]) -> str:
    number = preset.get("parameters")
    parameters = f"{number:>12,} parameters" if number is not None else "sized by the plan"
    return f"{preset['name']:10} {preset.get('dims')}-D  {parameters}"


def _build(device: dict[str, Any]) -> str:
    if device["gpus"]:
        return f"built for CUDA {device['cuda']}"
    if device["cuda"]:
        return f"built for CUDA {device['cuda']}, but no GPU is seen"
    return "built for the CPU only"


def _gigabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / _GIGABYTE:.1f} GB"


def _qt() -> dict[str, Any]:
    """Return which Qt there is; it is loaded in a process of its own, since it may crash."""
    binding = next((name for name in _BINDINGS if importlib.util.find_spec(name)), None)
    if binding is None:
        text = 'missing: pip install "napari-attnseg[gui]" to get the window'
        return {"binding": None, "works": False, "text": text}
    code = f"import {binding}.QtCore as Qt, {binding}.QtWidgets; print(Qt.qVersion())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it crashed"])[-1]
        text = f"{binding} is installed, but cannot be loaded: {reason}"
        return {"binding": binding, "works": False, "text": text}
    text = f"{binding}, Qt {done.stdout.strip()}"
    return {"binding": binding, "works": True, "text": text}


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
