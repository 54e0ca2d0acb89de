"""Surfaces are closed, look outwards, and lie in LPS where their labels lie."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError
from napari_attnseg.io.formats.stl import write_stl_of_classes

RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
SHAPE = (20, 24, 28)


def triangles_in(path):
    content = path.read_bytes()
    (count,) = np.frombuffer(content[80:84], "<u4")
    records = np.frombuffer(content[84:], RECORD)
    assert len(records) == count
    assert not content.startswith(b"solid")
    assert b"SPACE=LPS" in content[:80]
    return records


def enclosed(corners):
    """Return the volume inside triangles; positive where they look outwards."""
    corners = corners.astype(float)
    return np.einsum("ni,ni->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


def ball(centre, radius):
    d, h, w = np.indices(SHAPE)
    return (d - centre[0]) ** 2 + (h - centre[1]) ** 2 + (w - centre[2]) ** 2 <= radius**2


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SAL", "LAS", "IRA"])
@pytest.mark.parametrize("turn", ["straight", "oblique", "steep"])
def test_a_surface_encloses_its_voxels_where_they_lie(tmp_path, affine_of, orientation, turn):
    data = ball((9, 12, 15), 7)
    volume = Volume(data[None].astype(np.uint8), affine_of(orientation, turn))

    records = triangles_in(write_volume(tmp_path / "case.stl", volume))

    corners = records["corners"]
    inside = data.sum() * volume.grid.voxel_volume_ml * 1000
    assert enclosed(corners) == pytest.approx(inside, rel=0.05)
    middle = corners.reshape(-1, 3).mean(axis=0)
    world = volume.grid.world(np.array([9, 12, 15]))
    assert np.allclose(middle * (-1, -1, 1), world, atol=0.3)
    edges = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ni,ni->n", edges, records["normal"]) >= 0).all()


def test_a_surface_is_closed_even_at_the_edge_of_the_volume(tmp_path):
    data = np.zeros((1, *SHAPE), np.uint8)
    data[0, :, 3:9, 20:] = 1

    records = triangles_in(write_volume(tmp_path / "case.stl", Volume(data, np.eye(4))))

    edges = Counter()
    for one in records["corners"].round(3):
        names = [corner.tobytes() for corner in one]
        edges.update((names[n], names[(n + 1) % 3]) for n in range(3))
    assert set(edges.values()) == {1}
    assert all((second, first) in edges for first, second in edges)


def test_classes_go_into_one_file_or_one_each(tmp_path):
    data = (ball((6, 6, 6), 4) + 3 * ball((12, 16, 20), 5)).astype(np.uint8)
    volume = Volume(data[None], np.eye(4), classes={1: "left kidney/2", 3: "liver"})

    whole = triangles_in(write_volume(tmp_path / "case.stl", volume))
    parts = write_stl_of_classes(tmp_path / "case.stl", volume)

    assert [one.name for one in parts] == ["case_left_kidney_2.stl", "case_liver.stl"]
    assert sum(len(triangles_in(one)) for one in parts) == len(whole)


def test_what_has_no_surface_is_refused(tmp_path):
    empty = Volume(np.zeros((1, 5, 7, 9), np.uint8), np.eye(4))
    image = Volume(np.full((1, 5, 7, 9), 0.5, np.float32), np.eye(4))

    with pytest.raises(VolumeError, match="every voxel is background"):
        write_volume(tmp_path / "case.stl", empty)
    with pytest.raises(VolumeError, match="fractions"):
        write_volume(tmp_path / "case.stl", image)
    (tmp_path / "case.stl").write_bytes(b"surface")
    with pytest.raises(VolumeError, match="a surface and holds no voxels"):
        read_volume(tmp_path / "case.stl")
