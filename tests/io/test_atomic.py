"""A failure half way leaves the old file and nothing else."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError, atomic, atomic_write
from napari_attnseg.io.formats import nifti


class DiskFullError(OSError):
    """Raised in place of the system's own error."""


def volume_of(value):
    return Volume(np.full((1, 5, 7, 9), value, np.int16), np.eye(4))


@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
def test_a_failure_half_way_leaves_the_old_file(tmp_path, monkeypatch, name):
    path = write_volume(tmp_path / name, volume_of(1))
    calls = []

    def fail_at_the_third_plane(plane):
        calls.append(plane)
        if len(calls) == 3:
            raise DiskFullError("No space left on device")
        return np.array(plane)

    monkeypatch.setattr(nifti.np, "ascontiguousarray", fail_at_the_third_plane)
    with pytest.raises(DiskFullError):
        write_volume(path, volume_of(2))
    monkeypatch.undo()

    assert (read_volume(path).data == 1).all()
    assert os.listdir(tmp_path) == [name]


def test_a_failure_to_sync_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_volume(tmp_path / "case.nii", volume_of(1))

    def fail(descriptor):
        raise DiskFullError("No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(DiskFullError):
        write_volume(path, volume_of(2))
    monkeypatch.undo()

    assert (read_volume(path).data == 1).all()
    assert os.listdir(tmp_path) == ["case.nii"]


def test_a_type_that_cannot_be_held_leaves_the_old_file(tmp_path):
    path = write_volume(tmp_path / "case.nii", volume_of(1))

    with pytest.raises(VolumeError, match="cannot hold complex64"):
        write_volume(path, Volume(np.zeros((1, 5, 7, 9), np.complex64), np.eye(4)))

    assert (read_volume(path).data == 1).all()


def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(VolumeError, match="no ending"):
        write_volume(tmp_path / "case.bmp", volume_of(1))

    assert os.listdir(tmp_path) == []


def test_parent_folders_are_made(tmp_path):
    path = write_volume(tmp_path / "a" / "b" / "case.nii.gz", volume_of(3))

    assert (read_volume(path).data == 3).all()


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "case.txt"
    path.write_text("old")

    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are those of POSIX")
def test_a_link_stays_a_link_and_permissions_are_the_usual_ones(tmp_path):
    real, link, plain = tmp_path / "real.txt", tmp_path / "link.txt", tmp_path / "plain.txt"
    real.write_text("old")
    link.symlink_to(real)
    plain.write_text("plain")

    with atomic_write(link) as file:
        file.write(b"new")

    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_same_voxels_give_the_same_bytes(tmp_path):
    first = write_volume(tmp_path / "a.nii.gz", volume_of(1))
    second = write_volume(tmp_path / "b.nii.gz", volume_of(1))

    assert first.read_bytes() == second.read_bytes()
