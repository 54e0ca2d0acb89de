from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from napari_attnseg.cli import main

SIZES_IJK = ((20, 16, 12), (18, 20, 14), (22, 18, 12), (20, 18, 16), (19, 17, 13), (21, 16, 15))


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Attnseg = Callable[..., Answer]


@pytest.fixture
def attnseg(capsys: pytest.CaptureFixture[str]) -> Attnseg:
    def run(*words: object) -> Answer:
        capsys.readouterr()
        status = main([str(word) for word in words])
        printed = capsys.readouterr()
        return Answer(status, printed.out, printed.err)

    return run


def write_case(folder: Path, name: str, index: int) -> None:
    size = SIZES_IJK[index]
    rng = np.random.default_rng(index)
    i, j, k = np.meshgrid(*map(np.arange, size), indexing="ij")
    label = ((i - 8) ** 2 + (j - 8) ** 2 + (k - 6) ** 2 < 16).astype(np.uint8)
    label[13:16, 4:12, 4:9] = 2
    image = (label * 100.0 + rng.normal(0, 10, size)).astype(np.float32)
    affine = np.array([[-1.5, 0, 0, 3], [0, 1, 0, -7], [0, 0, 2, 11], [0, 0, 0, 1]])
    for sub, data in (("imagesTr", image), ("labelsTr", label)):
        (folder / sub).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, affine), folder / sub / f"{name}.nii.gz")


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in Decathlon's layout with a ball and a box in six volumes."""
    folder = tmp_path_factory.mktemp("cohort")
    names = [f"case_{index}" for index in range(len(SIZES_IJK))]
    for index, name in enumerate(names):
        write_case(folder, name, index)
    document = {
        "name": "shapes",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "ball", "2": "box"},
        "training": [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
            for name in names
        ],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, cohort: Path) -> Path:
    """Return a project of the cohort with one trained run."""
    path = tmp_path_factory.mktemp("projects") / "shapes"
    assert main(["project", str(path), "--cases", str(cohort)]) == 0
    words = ["train", str(path), "--backbone", "unet3d", "--attention", "cbam"]
    assert main([*words, "--preset", "tiny", "--epochs", "2", "--device", "cpu"]) == 0
    return path


@pytest.fixture(scope="session")
def trained(project: Path) -> Path:
    """Return the folder of a trained run."""
    return project / "runs" / "001"
