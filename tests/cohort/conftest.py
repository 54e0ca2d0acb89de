from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.io import write_volume
from napari_attnseg.volume import Volume

Write = Callable[..., Path]


def small_volume(
    values: tuple[int, ...] = (), *, channels: int = 1, shift_mm: float = 0.0
) -> Volume:
    """Return an image, or with values a label map that holds them, of three different sizes."""
    affine = np.diag([1.0, 1.5, 2.0, 1.0])
    affine[2, 3] = shift_mm
    data = np.arange(channels * 4 * 5 * 6).reshape(channels, 4, 5, 6).astype(np.int16)
    if values:
        data = np.zeros((1, 4, 5, 6), dtype=np.uint8)
        for place, value in enumerate(values):
            data[0, place] = value
    return Volume(data, affine)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a small volume at a path below the test's folder."""

    def write_one(path: str, *values: int, channels: int = 1, shift_mm: float = 0.0) -> Path:
        volume = small_volume(values, channels=channels, shift_mm=shift_mm)
        return write_volume(tmp_path / path, volume)

    return write_one


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write JSON at a path below the test's folder."""

    def write_one(path: str, content: Any) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
        return file

    return write_one
