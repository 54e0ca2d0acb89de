"""What is opened lazily is what is read at once, a slice reads little, and damage is told."""

from __future__ import annotations

import gzip
import os
import shutil
from collections import namedtuple

import nibabel as nib
import numpy as np
import pytest

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.io import VolumeError, open_volume, opening, sampled
from napari_attnseg.io.file_voxels import FileVoxels
from napari_attnseg.io.unpacked import Progress, cache_folder, clear
from napari_attnseg.volume import Storage

SHAPE = (1, 11, 7, 9)
PACKED = [(".nii.gz", None), (".nrrd", "gzip"), (".nrrd", "bzip2"), (".mha", "zlib")]
PLAIN = [(".nii", None), (".hdr", None), (".nrrd", "raw"), (".mha", "raw"), (".gipl", None)]
Disk = namedtuple("Disk", "total used free")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def write(tmp_path, affine_of, voxels):
    def make(suffix, encoding=None, dtype="int16", shape=SHAPE, **extra):
        kind = {".nrrd": "nrrd", ".mha": "metaimage", ".mhd": "metaimage"}.get(suffix)
        extra = {"placing": {}, "encoding": encoding, **extra} if encoding else extra
        storage = Storage(format=kind, extra=extra) if kind else None
        turned = "oblique" if not suffix.startswith(".gipl") else "straight"
        volume = Volume(voxels(shape, dtype), affine_of("LPS", turned), storage)
        return write_volume(tmp_path / "Jane_Doe" / f"Jane_Doe{suffix}", volume)

    return make


def refusal(function, *arguments, **options):
    with pytest.raises(VolumeError) as caught:
        function(*arguments, **options)
    return str(caught.value)


def assert_same(lazy, whole):
    assert lazy.is_lazy
    assert not whole.is_lazy
    assert lazy.data.dtype == whole.data.dtype
    assert lazy.data.shape == whole.data.shape
    assert np.array_equal(np.asarray(lazy.data), whole.data)
    assert np.array_equal(lazy.affine, whole.affine)
    assert lazy.classes == whole.classes
    told, expected = (one.storage.extra["warnings"] for one in (lazy, whole))
    assert told == expected


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
@pytest.mark.parametrize(("suffix", "encoding"), PLAIN + PACKED + [(".gipl.gz", None)])
def test_a_lazy_volume_is_the_one_that_is_read_at_once(write, suffix, encoding, dtype):
    path = write(suffix, encoding, dtype)

    assert_same(open_volume(path, larger_than=0), read_volume(path))


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_channels_are_lazy_too(write, suffix):
    path = write(suffix, "raw" if suffix != ".nii" else None, shape=(3, 4, 7, 9))

    assert_same(open_volume(path, larger_than=0), read_volume(path))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_bytes_in_the_other_order_are_turned(write, suffix):
    path = write(suffix, "raw", endian="big")

    assert_same(open_volume(path, larger_than=0), read_volume(path))


def test_scaled_integers_are_scaled_where_they_are_looked_at(tmp_path, voxels, affine_of):
    image = nib.Nifti1Image(voxels(SHAPE[:0:-1], "int16"), affine_of("RAS"))
    image.header.set_slope_inter(0.25, -7)
    nib.save(image, tmp_path / "scaled.nii")

    assert_same(
        open_volume(tmp_path / "scaled.nii", larger_than=0), read_volume(tmp_path / "scaled.nii")
    )


def test_a_lazy_volume_is_stored_in_another_order_without_being_read(write):
    path = write(".nii")
    lazy, whole = (
        one.reoriented("PIR") for one in (open_volume(path, larger_than=0), read_volume(path))
    )

    assert lazy.is_lazy
    assert np.array_equal(np.asarray(lazy.data), whole.data)
    assert np.array_equal(lazy.affine, whole.affine)


def test_a_small_volume_is_read_at_once(write):
    assert not open_volume(write(".nii")).is_lazy
    assert not open_volume(write(".nii.gz")).is_lazy


def test_a_lazy_volume_can_be_loaded_and_written(write, tmp_path):
    path = write(".nii")
    lazy = open_volume(path, larger_than=0)

    assert not lazy.loaded().is_lazy
    assert np.array_equal(lazy.loaded().data, read_volume(path).data)
    back = write_volume(tmp_path / "copy.nii.gz", lazy)
    assert np.array_equal(read_volume(back).data, read_volume(path).data)


@pytest.mark.parametrize(("suffix", "encoding"), PLAIN + PACKED)
def test_a_file_that_is_cut_off_is_refused_before_it_is_shown(write, suffix, encoding, cache):
    path = write(suffix, encoding)
    body = path.with_suffix(".img") if suffix == ".hdr" else path
    body.write_bytes(body.read_bytes()[:-20])

    lazily, at_once = refusal(open_volume, path, larger_than=0), refusal(read_volume, path)

    assert "cut off" in lazily or "damaged" in lazily
    assert lazily.split(":")[0] == at_once.split(":")[0]
    assert not list(cache.glob("*")) if cache.exists() else True


def test_a_damaged_header_is_refused_as_it_is_at_once(write):
    path = write(".nii")
    content = bytearray(path.read_bytes())
    content[70:72] = b"\x80\0"
    path.write_bytes(content)

    assert refusal(open_volume, path, larger_than=0) == refusal(read_volume, path)


def test_a_file_cut_short_while_it_is_open_is_told_of(write):
    path = write(".nii", shape=(1, 30, 70, 90))
    lazy = open_volume(path, larger_than=0)
    os.truncate(path, 1000)

    assert "has become shorter" in refusal(np.asarray, lazy.data[0, 29])


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">f4"])
def test_any_slice_of_a_file_is_that_of_the_array(tmp_path, dtype):
    random = np.random.default_rng(0)
    for shape in ((5, 3000, 7), (40, 30, 2, 20), (3,), (2, 1, 1, 1, 900)):
        whole = random.integers(0, 200, size=shape).astype(dtype)
        path = tmp_path / "raw"
        path.write_bytes(b"x" * 13 + whole.tobytes())
        stored = FileVoxels(path, 13, np.dtype(dtype), shape)
        for _ in range(60):
            index = tuple(part(random, size) for size in shape)[: random.integers(1, 6)]

            found = stored[index]

            assert found.dtype.isnative
            assert np.array_equal(found, whole[index]), index


def part(random, size):
    if random.random() < 0.4:
        return int(random.integers(-size, size))
    ends = [None, *random.integers(-size - 1, size + 2, size=2).tolist()]
    start, stop = random.choice(ends, size=2)
    return slice(start, stop, int(random.choice([-3, -1, 1, 1, 1, 2, 5])))


def test_a_slice_in_any_direction_needs_little_memory(tmp_path, monkeypatch):
    shape = (64, 512, 512)
    path = tmp_path / "raw"
    with path.open("wb") as file:
        file.truncate(np.prod(shape) * 2)
    voxels = FileVoxels(path, 0, np.dtype("<i2"), shape)
    counts = []
    read = FileVoxels._read_at
    monkeypatch.setattr(
        FileVoxels,
        "_read_at",
        lambda self, view, at: counts.append(len(view)) or read(self, view, at),
    )
    most = {}
    for name, index in {"axial": (5,), "coronal": (slice(None), 5), "sagittal": (..., 5)}.items():
        counts.clear()
        voxels[index if name != "sagittal" else (slice(None), slice(None), 5)]
        most[name] = (sum(counts), max(counts))

    assert most["axial"][0] == 512 * 512 * 2
    assert most["coronal"][0] == 64 * 512 * 2
    assert most["sagittal"][1] <= 4 << 20


def progress_of(path, **options):
    steps, told = opening(path, larger_than=0, **options), []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return told, end.value


def test_a_packed_volume_is_unpacked_once_with_progress(write, cache):
    path = write(".nii.gz")

    told, first = progress_of(path)
    again, second = progress_of(path)

    assert told[-1] == Progress(11 * 7 * 9 * 2, 11 * 7 * 9 * 2)
    assert not again
    assert np.array_equal(np.asarray(first.data), np.asarray(second.data))
    assert len(list(cache.iterdir())) == 1


def test_nothing_of_the_file_is_in_a_name_of_the_cache(write, cache):
    open_volume(write(".nii.gz"), larger_than=0)

    (only,) = cache.iterdir()
    assert "jane" not in str(only.relative_to(cache)).lower()
    assert "doe" not in str(only.relative_to(cache)).lower()


def test_a_changed_file_is_unpacked_anew(write, voxels):
    path = write(".nii.gz")
    open_volume(path, larger_than=0)
    facts = path.stat()
    with gzip.open(path) as file:
        content = bytearray(file.read())
    content[-2:] = b"\7\0"
    path.write_bytes(gzip.compress(content))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))

    assert np.asarray(open_volume(path, larger_than=0).data)[0, -1, -1, -1] == 7


@pytest.mark.parametrize("at", [-30, -6])
def test_damage_in_a_packed_volume_is_found_and_nothing_is_kept(write, cache, at):
    path = write(".nii.gz", shape=(1, 60, 70, 90))
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)

    assert "fails the check" in refusal(open_volume, path, larger_than=0)
    assert not list(cache.iterdir())


def test_unpacking_can_be_stopped_and_leaves_nothing(write, cache):
    told, volume = progress_of(write(".nii.gz"), should_stop=lambda: True)

    assert len(told) == 1
    assert volume is None
    assert not list(cache.iterdir())


def test_the_cache_lets_go_of_what_was_not_looked_at_for_longest(
    write, cache, monkeypatch, tmp_path
):
    size = 11 * 7 * 9 * 2 + 1
    monkeypatch.setattr("napari_attnseg.io.unpacked.LARGEST", size * 2)
    paths = []
    for name in "abc":
        paths.append(shutil.copy(write(".nii.gz"), tmp_path / f"{name}.nii.gz"))
    kept = {}
    for at, path in enumerate(paths):
        before = set(cache.glob("*")) if cache.exists() else set()
        open_volume(path, larger_than=0)
        (kept[at],) = set(cache.glob("*")) - before
        os.utime(kept[at], (at, at))
        if at == 1:
            open_volume(paths[0], larger_than=0)  # looked at again

    assert set(cache.glob("*")) == {kept[0], kept[2]}


def test_a_full_disk_is_a_sentence_with_the_numbers(write, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(10**9, 10**9 - 5, 5))

    told = refusal(open_volume, write(".nii.gz"), larger_than=0)

    assert "has to be unpacked to be shown" in told
    assert "ATTNSEG_CACHE" in told
    assert not list(cache.iterdir())


def test_the_cache_can_be_emptied_while_a_volume_is_open(write, cache):
    path = write(".nii.gz")
    lazy = open_volume(path, larger_than=0)

    assert clear() == 11 * 7 * 9 * 2 + 1
    assert not list(cache.iterdir())
    assert np.array_equal(np.asarray(lazy.data), read_volume(path).data)


def test_the_cache_lies_in_the_users_own_folder(monkeypatch):
    monkeypatch.delenv("ATTNSEG_CACHE")

    assert cache_folder().name == "volumes"
    assert cache_folder().is_absolute()


def test_a_sample_for_the_contrast_reads_a_few_planes(write):
    lazy = open_volume(write(".nii", shape=(2, 90, 7, 9)), larger_than=0)

    sample = sampled(lazy, channel=1, planes=10)

    planes = {plane.tobytes(): k for k, plane in enumerate(np.asarray(lazy.data[1]))}
    at = [planes[plane.tobytes()] for plane in sample]
    assert 5 < len(at) <= 10
    assert at == sorted(set(at))
    assert at[0] == 0
    assert at[-1] > 70
