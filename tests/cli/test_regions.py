"""Regions and modalities on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.io import write_volume
from napari_attnseg.volume import Volume

Attnseg = Callable[..., Any]
SHAPE = (4, 5, 6)
AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


def label(path: Path, *values: int) -> Path:
    """Write a label map whose first planes hold the values."""
    data = np.zeros((1, *SHAPE), np.uint8)
    for at, value in enumerate(values):
        data[0, at] = value
    return write_volume(path, Volume(data, AFFINE))


@pytest.fixture
def brats(tmp_path: Path) -> Path:
    """Make two cases of BraTS, the second image of the first on a grid of its own."""
    root = tmp_path / "brats"
    for at, name in enumerate(("BraTS2021_00000", "BraTS2021_00002")):
        for kind in ("flair", "t1"):
            shape = (3, 4, 5) if kind == "flair" and at == 0 else SHAPE
            values = np.random.default_rng(at).normal(size=(1, *shape)).astype(np.float32)
            write_volume(root / name / f"{name}_{kind}.nii.gz", Volume(values, AFFINE))
        label(root / name / f"{name}_seg.nii.gz", 1, 2, 4)
    return root


def test_regions_are_asked_for_by_their_values(attnseg: Attnseg, tmp_path: Path) -> None:
    first, second = label(tmp_path / "p.nii.gz", 1, 4, 2), label(tmp_path / "r.nii.gz", 1, 1, 2, 4)

    words = ["--region", "TC=1,4", "--region", "ET=4", "--json"]
    content = attnseg("evaluate", first, second, *words).json

    found = content["cases"][0]["regions"]
    assert {name: one["dice"] for name, one in found.items()} == {"TC": 0.8, "ET": 0.0}
    assert content["regions"]["TC"]["dice"] == 0.8
    assert set(content["mean"]) == {"1", "2", "4"}


@pytest.mark.parametrize("text", ["WT", "WT=", "WT=1,x"])
def test_a_region_without_values_is_wrong_usage(
    text: str, attnseg: Attnseg, tmp_path: Path
) -> None:
    file = label(tmp_path / "p.nii.gz", 1)

    answer = attnseg("evaluate", file, file, "--region", text)

    assert answer.status == 2
    assert "as in WT=1,2,4" in answer.err


def test_the_regions_of_a_project_are_scored(
    attnseg: Attnseg, brats: Path, tmp_path: Path
) -> None:
    attnseg("project", tmp_path / "p", "--cases", brats)
    file = brats / "BraTS2021_00000" / "BraTS2021_00000_seg.nii.gz"

    content = attnseg("evaluate", file, file, "--project", tmp_path / "p", "--json").json

    assert list(content["cases"][0]["regions"]) == ["WT", "TC", "ET"]
    assert content["cases"][0]["classes"]["2"]["name"] == "oedema"


def test_modalities_are_resampled_when_the_project_is_told_to(
    attnseg: Attnseg, brats: Path, tmp_path: Path
) -> None:
    made = attnseg("project", tmp_path / "p", "--cases", brats)
    assert "is on another grid" in made.err

    answer = attnseg("project", tmp_path / "p", "--resample-modalities", "--json")

    assert "1 case" in answer.err
    assert answer.json["resample_modalities"] is True
    first = answer.json["cases"][0]["images"]
    assert first["T1"].endswith("_t1.nii.gz")
    assert json.loads(Path(first["FLAIR"]).read_text())["grid"]["shape_dhw"] == list(SHAPE)


def test_regions_are_listed_with_a_project(attnseg: Attnseg, brats: Path, tmp_path: Path) -> None:
    answer = attnseg("project", tmp_path / "p", "--cases", brats)

    assert "regions: WT = 1, 2, 4; TC = 1, 4; ET = 4" in answer.out
