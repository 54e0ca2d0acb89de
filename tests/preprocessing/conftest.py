from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_attnseg.preprocessing.plan import ChannelPlan, Plan
from napari_attnseg.volume import Volume

MakeLabel = Callable[..., Volume]


def oblique_affine(spacing_ijk: tuple[float, float, float], degrees: float = 25.0) -> np.ndarray:
    """Return an affine turned about two axes, with an origin of its own."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(spacing_ijk)
    affine[:3, 3] = (-31.0, 12.5, 7.25)
    return affine


@pytest.fixture
def oblique() -> Callable[..., np.ndarray]:
    return oblique_affine


@pytest.fixture
def blobs() -> MakeLabel:
    """Return a maker of label maps with round, touching classes."""

    def make(shape_dhw=(14, 22, 18), spacing_ijk=(1.0, 1.0, 1.0), values=(1, 7, 137)) -> Volume:
        mm = np.array(spacing_ijk[::-1])
        place = np.stack(np.indices(shape_dhw), axis=-1) * mm
        size = np.array(shape_dhw) * mm
        data = np.zeros(shape_dhw, dtype=np.uint8)
        for index, value in enumerate(values):
            apart = np.linalg.norm(place - size * (0.3 + 0.2 * index), axis=-1)
            data[apart < size.min() * (0.38 - 0.06 * index)] = value
        return Volume(data[None], oblique_affine(spacing_ijk))

    return make


@pytest.fixture
def plan() -> Plan:
    """Return a plan for one channel at 1 mm."""
    return Plan(channels=(ChannelPlan(name="T1"),), spacing_dhw=(1.0, 1.0, 1.0))
