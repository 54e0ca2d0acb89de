"""Zarr folders, ``.ome.zarr`` and ``.zarr``: OME-Zarr 0.4 and 0.5, and plain arrays.

Chunks are decoded in the process of the decoders. Writing, and that process, need the extra
``large`` (the library zarr).
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io import ome_zarr
from napari_attnseg.io.format import FOLDER_FORMATS, FORMATS, HeaderError, VolumeError
from napari_attnseg.io.isolation import DECODERS, DecoderCrashError
from napari_attnseg.io.voxels import as_held
from napari_attnseg.io.zarr_voxels import ZarrVoxels, refused
from napari_attnseg.volume import Storage, Volume

_MARKS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_HELD = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
)  # fmt: skip
_CHUNK, _LARGE_CHUNK, _MANY_CHUNKS = 64, 128, 4000
_FEWEST_CHUNKS = 1e-3
_LARGEST = 1 << 44


@FORMATS.register("zarr")
class Zarr:
    """Zarr, ``.ome.zarr`` and ``.zarr``: folders of chunks."""

    suffixes: tuple[str, ...] = ()
    named_suffixes: tuple[str, ...] = (".ome.zarr", ".zarr")
    is_marked = True

    def matches(self, folder: Path) -> bool:
        """Return whether a folder is one of Zarr, by the files that describe it."""
        return any((folder / mark).is_file() for mark in _MARKS)

    def read(self, path: Path) -> Volume:
        """Refuse: a volume of Zarr is a folder.

        Raises:
            VolumeError: Always.
        """
        raise VolumeError(f"{path.name!r} is a file, and Zarr keeps a volume in a folder.")

    def read_folder(self, folder: Path) -> Volume:
        """Return the array of full resolution as a volume, all of it in memory.

        Raises:
            VolumeError: If the folder is damaged or holds what is not a volume.
        """
        return self.open_folder(folder, None)

    def open_folder(self, folder: Path, larger_than: int | None) -> Volume:
        """Return a volume whose chunks are read where they are sliced, if it is that large.

        Args:
            folder: Of the volume.
            larger_than: Bytes of voxels above which they stay on the disk; None for never.

        Raises:
            VolumeError: If the folder is damaged or holds what is not a volume.
        """
        try:
            attributes, array, facts = _facts(folder)
            found = ome_zarr.layout(attributes, array, facts["shape"])
            voxels = _voxels(folder, array, facts, found.warnings)
        except HeaderError as error:
            raise VolumeError(f"{folder.name!r} {error}.") from error
        is_lazy = larger_than is not None and voxels.nbytes > larger_than
        data = _as_cdhw(voxels.as_dask() if is_lazy else voxels.read(), found.spatial)
        classes, names, ndim = ome_zarr.own_names(attributes)
        extra = {"format": "OME-Zarr", "warnings": tuple(found.warnings)}
        ndim = 4 if len(data) > 1 else ndim
        storage = Storage(ndim=ndim, dtype=data.dtype.name, format="zarr", extra=extra)
        names = names if len(names) == len(data) else ()
        return Volume(data, found.affine, storage=storage, classes=classes, channels=names)

    def write(self, path: Path, volume: Volume) -> None:
        """Write a volume as OME-Zarr 0.4, whole or not at all.

        Raises:
            VolumeError: If zarr is not installed, or something else stands at the path.
            OSError: If the folder cannot be written; what was there stays.
        """
        _require_zarr()
        if path.exists() and not (path.is_dir() and self.matches(path)):
            raise VolumeError(f"{path.name!r} is no Zarr folder; choose another name.")
        data = as_held(volume.data, _HELD, path, "convert them to float32 or an integer type")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.part")
        try:
            _write(beside, volume, data)
            _take_place(beside, path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


FOLDER_FORMATS.register("zarr")(Zarr)


def _facts(folder: Path) -> tuple[Mapping[str, Any], str, dict[str, Any]]:
    """Return the attributes, and the name and facts of the array of full resolution."""
    _require_zarr()
    found = _asked(folder, {})
    attributes, arrays = found["attributes"], found["arrays"]
    name = ome_zarr.first_array(attributes)
    if name is not None and name not in arrays:
        arrays = _asked(folder, {"arrays": [name]})["arrays"]
    if name is None:
        if len(arrays) != 1:
            raise HeaderError(f"holds {len(arrays)} arrays and does not say which is the volume")
        name = next(iter(arrays))
    return attributes, name, arrays[name]


def _asked(folder: Path, more: Mapping[str, Any]) -> dict[str, Any]:
    request = {"decoder": "zarr-facts", "path": str(folder.absolute()), **more}
    try:
        found, _ = DECODERS.ask(request)
    except DecoderCrashError:
        raise refused(folder, "its reader crashed") from None
    if "error" in found:
        raise refused(folder, found["error"])
    return found


def _voxels(folder: Path, array: str, facts: Mapping[str, Any], warnings: list[str]) -> ZarrVoxels:
    shape = tuple(int(size) for size in facts["shape"])
    dtype = np.dtype(facts["dtype"])
    if dtype.kind not in "uifb" or dtype.itemsize > 8:
        raise HeaderError(f"holds the type {dtype.name[:40]!r}; convert it to one number a voxel")
    if not shape or min(shape) < 1:
        raise HeaderError(f"holds no voxels: its size is {' x '.join(map(str, shape))}")
    stored, expected = facts["stored"], facts["expected"]
    size = math.prod(shape) * dtype.itemsize
    if size > _LARGEST or stored < expected * _FEWEST_CHUNKS or not stored:
        raise HeaderError(
            f"is incomplete: it holds {stored} of {expected} chunks of voxels; copy it again"
        )
    if stored < expected:
        # Chunks of one value need not be stored, so this may be as it should be.
        warnings.append(
            f"{expected - stored} of {expected} chunks are not stored and read as one value; if "
            "the folder was copied, check that all of it came over."
        )
    chunks = tuple(max(min(pair), 1) for pair in zip(facts["chunks"], shape, strict=True))
    return ZarrVoxels(folder, array, shape, dtype, chunks)


def _as_cdhw(data: Any, spatial: tuple[int, ...]) -> Any:
    others = [axis for axis in range(data.ndim) if axis not in spatial]
    sizes = [1] * (3 - len(spatial)) + [data.shape[axis] for axis in spatial]
    channels = math.prod(data.shape[axis] for axis in others)
    return data.transpose(*others, *spatial).reshape(channels, *sizes)


def _write(folder: Path, volume: Volume, data: Any) -> None:
    import numcodecs
    import zarr

    ndim = 4 if len(data) > 1 else 3
    shape = data.shape[-ndim:]
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    group.attrs.update(ome_zarr.attributes_of(volume, ndim))
    many = math.prod(math.ceil(size / _CHUNK) for size in shape) > _MANY_CHUNKS
    side = _LARGE_CHUNK if many else _CHUNK
    chunks = tuple(min(side, size) for size in shape[-3:])
    array = group.create_array(
        "0",
        shape=shape,
        chunks=(1, *chunks)[-ndim:],
        dtype=data.dtype,
        # Of what numcodecs offers only this has a checksum, which finds flipped bits.
        compressors=numcodecs.Zstd(level=1, checksum=True),
        config={"write_empty_chunks": True},
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    # Rows of chunks, so that a volume larger than memory can be written.
    for channel, k in itertools.product(range(len(data)), range(0, shape[-3], side)):
        at = (channel, slice(k, k + side))[-(ndim - 2) :]
        array[at] = np.asarray(data[channel, k : k + side])


def _take_place(beside: Path, path: Path) -> None:
    """Put a new folder in the place of an old one, which stays until the new one is there."""
    old = path.with_name(f"{beside.name}.old")
    if path.exists():
        os.replace(path, old)
    try:
        os.replace(beside, path)
    except OSError:
        with suppress(OSError):
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _require_zarr() -> None:
    if importlib.util.find_spec("zarr") is None:
        raise VolumeError(
            "Reading and writing Zarr needs zarr: pip install napari-attnseg[large]."
        )
