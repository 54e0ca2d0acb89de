"""Headers that are lines of text: lines, whole numbers, sizes and places, all checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from napari_attnseg.io.format import HeaderError
from napari_attnseg.volume import Grid

SHEARED = "The axes are not at right angles (sheared); some programs refuse that."
TRAILING = "More data follow the voxels; the header may claim too few."

LARGEST_HEADER = 16 << 20
MOST_AXES = 16
_MOST_DIGITS = 40


def lines_of(file: BinaryIO) -> Iterator[str]:
    """Give the lines at a file's start, without their ends.

    Raises:
        HeaderError: If the file ends, or 16 MiB have passed, before the reader is content.
    """
    total = 0
    while True:
        line = file.readline(LARGEST_HEADER + 1)
        total += len(line)
        if not line.endswith(b"\n") or total > LARGEST_HEADER:
            raise HeaderError("is cut off: its header has no end")
        yield line.decode("utf-8", errors="replace").rstrip("\r\n")


def need(fields: Mapping[str, str], name: str) -> str:
    """Return a field that must be there.

    Raises:
        HeaderError: If it is not.
    """
    if name not in fields:
        raise HeaderError(f"has a damaged header: it lacks the field {name!r}")
    return fields[name]


def whole_numbers(text: str, what: str, count: int | None = None) -> tuple[int, ...]:
    """Return the whole numbers in a field.

    Raises:
        HeaderError: If there are none, or not as many as there should be, or one is none.
    """
    words = text.split()
    if any(len(word) > _MOST_DIGITS for word in words):
        raise _damaged(what, text)
    try:
        numbers = tuple(int(word) for word in words)
    except ValueError as error:
        raise _damaged(what, text) from error
    return _counted(numbers, what, text, count)


def numbers(text: str, what: str, count: int | None = None) -> tuple[float, ...]:
    """Return the numbers in a field; NaN and infinite ones are left to who uses them.

    Raises:
        HeaderError: If there are none, or not as many as there should be, or one is none.
    """
    try:
        found = tuple(float(word) for word in text.split())
    except ValueError as error:
        raise _damaged(what, text) from error
    return _counted(found, what, text, count)


def checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return sizes that make a volume.

    Raises:
        HeaderError: If one is not positive.
    """
    if min(sizes) < 1:
        raise HeaderError(f"holds no voxels: its size is {' x '.join(map(str, sizes))}")
    return tuple(sizes)


def checked_place(affine: np.ndarray) -> np.ndarray:
    """Return an affine that places voxels.

    Raises:
        HeaderError: If it is not finite or gives voxels no volume.
    """
    try:
        return Grid((1, 1, 1), affine).affine
    except ValueError as error:
        raise HeaderError(f"cannot be placed in space: {str(error).rstrip('.')}") from error


def affine_of(columns: Sequence[Sequence[float]], origin: Sequence[float]) -> np.ndarray:
    """Return the 4x4 whose columns are the steps along i, j and k; two or three are given.

    A lone slice gets a thickness of 1 mm across its plane.

    Args:
        columns: Two or three steps, each of as many numbers as the space has axes.
        origin: Where the first voxel lies.
    """
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, column in enumerate(columns):
        affine[: len(column), axis] = column
    affine[: len(origin), 3] = origin
    if len(columns) == 2:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        length = float(np.linalg.norm(normal))
        affine[:3, 2] = normal / length if length > 0 else 0
    return affine


def exactly(values: Sequence[float] | np.ndarray) -> list[str]:
    """Return numbers as the shortest texts that read as the same numbers again."""
    return [repr(float(one)).removesuffix(".0") for one in values]


def is_sheared(affine: np.ndarray) -> bool:
    """Return whether the axes are not at right angles."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3)


def is_flat(affine: np.ndarray) -> bool:
    """Return whether two axes tell all of the place of a slice, which ITK then reads."""
    rest = affine[[2, 2, 2, 0, 1], [0, 1, 3, 2, 2]]
    return bool((rest == 0).all() and affine[2, 2] == 1)


def beside(path: Path, name: str) -> Path:
    """Return the data file that a header names, which lies where the header does.

    Raises:
        HeaderError: If there is no such file.
    """
    found = path.parent / name
    # A pipe or a device would never end.
    if "\0" in name or not found.is_file():
        safe = "".join(one if one.isprintable() else "?" for one in name[:80])
        raise HeaderError(f"keeps its voxels in {safe!r}, which is not there; copy both files")
    return found


def _counted(found: tuple, what: str, text: str, count: int | None) -> tuple:
    if not found or (count is not None and len(found) != count):
        raise _damaged(what, text, count)
    return found


def _damaged(what: str, text: str, count: int | None = None) -> HeaderError:
    shown = text if len(text) <= 40 else f"{text[:40]}..."
    wanted = "" if count is None else f" where {count} numbers belong"
    # Control characters would break the sentence.
    safe = "".join(one if one.isprintable() else "?" for one in shown)
    return HeaderError(f"has a damaged header: {what} is {safe!r}{wanted}")
