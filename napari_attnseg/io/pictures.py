"""Read the pages of a PNG, JPEG or TIFF file, checked to its last byte as far as it can be."""

from __future__ import annotations

import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.io.format import VolumeError
from napari_attnseg.io.isolation import DECODERS, DecoderCrashError

_LARGEST_RATIO = 3000
"""No way of packing pictures shrinks further; LZW comes nearest."""

_ALLOWANCE = 4 << 20
_MODES = ("1", "L", "LA", "P", "I;16", "I;16B", "I;16L", "I", "F", "RGB", "RGBA")
_PALETTE_WARNING = "The pictures have a palette; the numbers of its colours are taken, not these."
_PNG_END = b"IEND\xaeB`\x82"
_PALETTE = 3
_ALPHA = (1, 2)


def read_pages(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Return the pages of a picture file, each ``(H, W, C)``, and warnings.

    Raises:
        VolumeError: If the file is damaged, or holds what is no slice.
    """
    is_tiff = path.suffix.lower() in (".tif", ".tiff")
    with warnings.catch_warnings():
        # Readers warn of what they then refuse or of odd tags; what matters is judged here.
        warnings.simplefilter("ignore")
        try:
            pages = _read_tiff(path) if is_tiff else [_read_picture(path)]
        except _damage() as error:
            if isinstance(error, VolumeError):
                raise
            raise VolumeError(
                f"{path.name!r} is damaged or no picture ({_short(error)}); copy it again."
            ) from error
    remarks: list[str] = []
    arrays = []
    for array, mode in pages:
        if mode == "P":
            remarks.append(_PALETTE_WARNING)
        arrays.append(_plain(array, path, has_alpha=mode in ("LA", "RGBA")))
    return arrays, list(dict.fromkeys(remarks))


def _damage() -> tuple[type[Exception], ...]:
    """Return what decoders raise on damaged bytes, which is nearly anything."""
    import tifffile

    return (
        OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, EOFError,
        RuntimeError, SyntaxError, struct.error, zlib.error, tifffile.TiffFileError,
    )  # fmt: skip


def _read_picture(path: Path) -> tuple[np.ndarray, str]:
    content = path.read_bytes()
    largest = _ALLOWANCE + len(content) * _LARGEST_RATIO
    request = {"decoder": "picture", "largest": largest, "modes": _MODES}
    try:
        facts, array = DECODERS.ask(request, content, len(content))
    except DecoderCrashError:
        raise VolumeError(
            f"{path.name!r} is probably damaged: the decoder of pictures crashed on it; copy it "
            "again from its source."
        ) from None
    if "error" in facts:
        raise ValueError(facts["error"])
    if "needed" in facts:
        raise _too_large(path, facts["needed"])
    if path.suffix.lower() == ".png" and _PNG_END not in content:
        raise VolumeError(f"{path.name!r} is cut off; copy it again from its source.")
    if facts["frames"] > 1:
        raise VolumeError(f"{path.name!r} is animated; save its frames one by one.")
    if array is None:
        raise VolumeError(f"{path.name!r} holds {facts['mode']} colours; save it as grey values.")
    return array, facts["mode"]


def _read_tiff(path: Path) -> list[tuple[np.ndarray, str]]:
    import tifffile

    with _errors_told() as errors, tifffile.TiffFile(path) as file:
        if not file.pages:
            raise VolumeError(f"{path.name!r} holds no picture.")
        told = (file.imagej_metadata or {}).get("images", len(file.pages))
        if told != len(file.pages):
            raise VolumeError(
                f"{path.name!r} tells of {told} slices and lists {len(file.pages)}; save it as a "
                "plain TIFF or .nii.gz."
            )
        total = 0
        for page in file.pages:
            total += int(np.prod(page.shape, dtype=object)) * np.dtype(page.dtype).itemsize
        _require_size(path, total)
        pages = [(_tiff_page(path, page), _tiff_mode(page)) for page in file.pages]
    if errors:
        raise ValueError(errors[0])
    return pages


@contextmanager
def _errors_told() -> Iterator[list[str]]:
    """Give the errors that tifffile only logs, such as a lost page, before it reads on."""

    class Errors(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR and record.thread == threading.get_ident():
                found.append(record.getMessage())

    found: list[str] = []
    handler, log = Errors(), logging.getLogger("tifffile")
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)


def _tiff_mode(page: Any) -> str:
    if page.photometric == _PALETTE:
        return "P"
    return "RGBA" if any(one in _ALPHA for one in page.extrasamples) else "L"


def _tiff_page(path: Path, page: Any) -> np.ndarray:
    segments = zip(page.dataoffsets, page.databytecounts, strict=True)
    # A segment that is not there, or not all of it, reads as zeros.
    is_short = page.compression == 1 and sum(page.databytecounts) < page.nbytes
    size = path.stat().st_size
    if is_short or any(at + count > size or count == 0 for at, count in segments):
        raise VolumeError(f"{path.name!r} is cut off; copy it again from its source.")
    array = page.asarray()
    return np.moveaxis(array, 0, -1) if page.axes == "SYX" else array


def _plain(array: np.ndarray, path: Path, *, has_alpha: bool) -> np.ndarray:
    """Return ``(H, W, C)`` of a type that a volume holds, without an alpha that says nothing."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.dtype.kind not in "buif":
        raise VolumeError(f"{path.name!r} holds what is no slice: {array.shape} {array.dtype}.")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if has_alpha:
        opaque = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
        if (array[..., -1] != opaque).any():
            raise VolumeError(f"{path.name!r} is partly transparent; save it as grey values.")
        array = array[..., :-1]
    return array


def _require_size(path: Path, needed: int) -> None:
    if needed > _ALLOWANCE + path.stat().st_size * _LARGEST_RATIO:
        raise _too_large(path, needed)


def _too_large(path: Path, needed: int) -> VolumeError:
    return VolumeError(f"{path.name!r} claims {needed} bytes of voxels, more than it can hold.")


def _short(error: Exception) -> str:
    text = " ".join("".join(one if one.isprintable() else " " for one in str(error)).split())
    return text[:80] or type(error).__name__
