"""The stored values of slices, decoded and rescaled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom

from napari_attnseg.io.dicom.codecs import decode
from napari_attnseg.io.dicom.files import damage_named, read_tags
from napari_attnseg.io.dicom.headers import Frame
from napari_attnseg.io.format import VolumeError

PIXEL_TAGS = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
    "FloatPixelData", "DoubleFloatPixelData",
)  # fmt: skip

_ITEM = b"\xfe\xff\x00\xe0"
_LARGEST_SHIFT = 2.0**53
_FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}


def read_slices(frames: Sequence[Frame]) -> np.ndarray:
    """Return the real values of slices, ``(D, H, W)``, in the order given.

    Without rescaling the stored type stays; whole numbers stay whole (CT becomes int16); all
    else is float32.

    Raises:
        VolumeError: If a file is damaged, cut off, or compressed in a way that is not known.
    """
    stored = _stored(frames)
    slopes = np.array([one.slope for one in frames])
    intercepts = np.array([one.intercept for one in frames])
    if (slopes == 0).any():
        raise VolumeError(f"{frames[0].path.name!r} is damaged: its rescale slope is 0.")
    if (slopes == 1).all() and (intercepts == 0).all():
        return stored
    whole = (slopes == 1).all() and (intercepts == np.rint(intercepts)).all()
    if whole and np.abs(intercepts).max() < _LARGEST_SHIFT and stored.dtype.kind in "iu":
        return _shifted(stored, intercepts)
    out = np.empty(stored.shape, dtype=np.float32)
    for at, (slope, intercept) in enumerate(zip(slopes, intercepts, strict=True)):
        with np.errstate(over="ignore", invalid="ignore"):
            out[at] = stored[at] * slope + intercept
        if stored.dtype.kind in "iu" and not np.isfinite(out[at]).all():
            raise VolumeError(
                f"{frames[at].path.name!r} is damaged: its values are scaled by {slope:g}, beyond "
                "what a voxel holds."
            )
    return out


def read_frames(path: Path) -> np.ndarray:
    """Return all frames of a file as stored, ``(frames, rows, columns)``.

    Raises:
        VolumeError: If the file is damaged, cut off, or compressed in a way that is not known.
    """
    dataset = read_tags(path, PIXEL_TAGS, with_pixels=True)
    with damage_named(path):
        shape = (int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns))
        if dataset.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in dataset:
            return _compressed(path, dataset, shape)
        return _plain(path, dataset, shape)


def _stored(frames: Sequence[Frame]) -> np.ndarray:
    """Return slices as stored; each file is read once, and only one at a time is held."""
    wanted: dict[Path, list[tuple[int, int]]] = {}
    for at, frame in enumerate(frames):
        wanted.setdefault(frame.path, []).append((at, frame.index))
    stored: np.ndarray | None = None
    for path, pairs in wanted.items():
        found = read_frames(path)
        if stored is None:
            stored = np.empty((len(frames), *frames[0].size), dtype=found.dtype)
        if found.dtype != stored.dtype:
            wider = np.promote_types(found.dtype, stored.dtype)
            stored = stored.astype(wider)
        for at, index in pairs:
            stored[at] = found[index]
    assert stored is not None
    return stored


def _shifted(stored: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    low = float((stored.min(axis=(1, 2)) + intercepts).min())
    high = float((stored.max(axis=(1, 2)) + intercepts).max())
    kinds = (np.int16, np.int32, np.int64)
    kind = next(one for one in kinds if np.iinfo(one).min <= low and high <= np.iinfo(one).max)
    out = np.empty(stored.shape, dtype=kind)
    # Whole numbers wrap, and the sums fit, so that what overflows on the way comes back.
    for at, shift in enumerate(intercepts.astype(np.int64).astype(kind)):
        np.add(stored[at].astype(kind), shift, out=out[at])
    return out


def _plain(path: Path, dataset: pydicom.Dataset, shape: tuple[int, int, int]) -> np.ndarray:
    name = next((one for one in (*_FLOATS, "PixelData") if one in dataset), None)
    if name is None:
        raise VolumeError(f"{path.name!r} holds no pixels.")
    content = dataset[name].value
    if dataset[name].is_undefined_length or _is_encapsulated(content):
        raise VolumeError(
            f"{path.name!r} is damaged: it says that its pixels are not compressed, but they are. "
            "Copy it again from its source."
        )
    allocated = int(dataset.get("BitsAllocated") or 0)
    code = _FLOATS.get(name) or _integer_code(path, dataset)
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    if allocated == 1:
        return _bits(path, content, shape)
    dtype = np.dtype(order + code)
    needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    _require_length(path, len(content), needed)
    swapped = allocated == 8 and dataset["PixelData"].VR == "OW" and order == ">"
    content = np.frombuffer(content, "<u2").byteswap().tobytes() if swapped else content
    values = np.frombuffer(content, dtype, count=needed // dtype.itemsize).reshape(shape)
    values = values.astype(dtype.newbyteorder("="))
    return values if name in _FLOATS else _used_bits(values, dataset)


def _is_encapsulated(content: bytes) -> bool:
    """Return whether bytes begin as compressed frames do: with two items, the first of offsets."""
    second = 8 + int.from_bytes(content[4:8], "little")
    return content[:4] == _ITEM and content[second : second + 4] == _ITEM


def _bits(path: Path, content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    count = int(np.prod(shape, dtype=object))
    _require_length(path, len(content), -(-count // 8))
    packed = np.frombuffer(content, np.uint8, count=-(-count // 8))
    return np.unpackbits(packed, count=count, bitorder="little").reshape(shape)


def _compressed(path: Path, dataset: pydicom.Dataset, shape: tuple[int, int, int]) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=shape[0]))
    if len(frames) != shape[0]:
        raise VolumeError(
            f"{path.name!r} is cut off: it holds {len(frames)} of {shape[0]} compressed frames."
        )
    out: np.ndarray | None = None
    for at, frame in enumerate(frames):
        found = _used_bits(decode(frame, dataset, syntax, path), dataset)
        if found.shape != shape[1:]:
            raise VolumeError(
                f"{path.name!r} is damaged: its header promises {shape[1]} x {shape[2]} pixels, "
                f"and {found.shape[0]} x {found.shape[1]} are in it."
            )
        out = np.empty(shape, dtype=found.dtype) if out is None else out
        out[at] = found
    assert out is not None
    return out


def _integer_code(path: Path, dataset: pydicom.Dataset) -> str:
    allocated = int(dataset.get("BitsAllocated") or 0)
    if allocated not in (1, 8, 16, 32):
        raise VolumeError(
            f"{path.name!r} stores {allocated} bits a pixel; 8, 16 and 32 are supported."
        )
    return ("i" if dataset.get("PixelRepresentation") else "u") + str(max(allocated // 8, 1))


def _used_bits(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Return values with the bits that are none of theirs, such as old overlays, taken off."""
    bits = values.dtype.itemsize * 8
    used = int(dataset.get("BitsStored") or bits)
    high = int(dataset.get("HighBit") or used - 1)
    if not 0 < used <= bits or not used - 1 <= high < bits or used == bits:
        return values
    # To the top and back: the way down repeats the sign of signed values.
    shift: Callable[..., np.ndarray] = np.left_shift
    moved = shift(values, bits - 1 - high)
    return np.right_shift(moved, bits - used)


def _require_length(path: Path, found: int, needed: int) -> None:
    if found < needed:
        raise VolumeError(
            f"{path.name!r} is cut off: it holds {found} of {needed} bytes of pixels. "
            "Copy it again from its source."
        )
