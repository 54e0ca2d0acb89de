from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

TURNS = {"straight": np.eye(3)}
for name, seed in (("oblique", 1), ("steep", 2)):
    axis = np.random.default_rng(seed).normal(size=4)
    TURNS[name] = nib.quaternions.quat2mat(axis * [1, 0.15, 0.15, 0.15] + [2 * seed, 0, 0, 0])


def _affine_of(orientation: str, turn: str = "straight") -> np.ndarray:
    """Return an affine with voxels of 0.7 x 1.3 x 2.9 mm whose axes grow as three letters say."""
    axes = nib.orientations.axcodes2ornt(orientation)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(axes):
        affine[int(world), axis] = sign * (0.7, 1.3, 2.9)[axis]
    affine[:3, :3] = TURNS[turn] @ affine[:3, :3]
    affine[:3, 3] = (-31.5, 12.25, 140.0)
    return affine


def _voxels(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Return random voxels that use the whole range of their type."""
    random = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return random.normal(scale=1e4, size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)


@pytest.fixture(scope="session")
def affine_of() -> Callable[..., np.ndarray]:
    return _affine_of


@pytest.fixture(scope="session")
def voxels() -> Callable[..., np.ndarray]:
    return _voxels


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a file with nibabel, the independent program."""

    def write(
        data: np.ndarray,
        sform: np.ndarray | None = None,
        qform: np.ndarray | None = None,
        *,
        codes: tuple[int, int] = (1, 2),
        name: str = "case.nii.gz",
        version: int = 1,
    ) -> Path:
        kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
        image = kind(data, None, dtype=data.dtype)
        qform = sform if qform is None else qform
        image.set_qform(qform, codes[0] if qform is not None else 0)
        image.set_sform(sform, codes[1] if sform is not None else 0)
        path = tmp_path / name
        nib.save(image, path)
        return path

    return write
