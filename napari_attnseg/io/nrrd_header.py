"""What an NRRD header says about shape, type and place; the format is that of Teem.

See http://teem.sourceforge.net/nrrd/format.html. Where it leaves a choice, ITK's is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from napari_attnseg.io import header_text
from napari_attnseg.io.format import HeaderError
from napari_attnseg.volume import affine_for_itk

_SYNONYMS = {
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int8": ("signed char", "int8", "int8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "int64": (
        "longlong", "long long", "long long int", "signed long long", "signed long long int",
        "int64", "int64_t",
    ),
    "uint64": (
        "ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t",
    ),
    "float32": ("float",),
    "float64": ("double",),
}  # fmt: skip
TYPES = {name: dtype for dtype, names in _SYNONYMS.items() for name in names}
TYPE_NAMES = {
    "uint8": "unsigned char", "int8": "signed char", "int16": "short", "uint16": "unsigned short",
    "int32": "int", "uint32": "unsigned int", "int64": "long long", "uint64": "unsigned long long",
    "float32": "float", "float64": "double",
}  # fmt: skip
ENCODINGS = {
    "raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
    "txt": "text", "text": "text", "ascii": "text",
}  # fmt: skip
_FIELD_SYNONYMS = {
    "datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip",
    "axismins": "axis mins", "centers": "centerings",
}  # fmt: skip
_SPACES = {
    "ras": "right-anterior-superior",
    "las": "left-anterior-superior",
    "lps": "left-posterior-superior",
}
TO_RAS = {
    "right-anterior-superior": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "left-posterior-superior": affine_for_itk(np.eye(4)),
}
"""From the world of a space to RAS; each is its own inverse."""

_MM = {
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "cm": 10.0, "m": 1000.0,
    "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3,
}  # fmt: skip
_COLOURS = ("rgb-color", "rgba-color", "hsv-color", "xyz-color")
_SPATIAL = ("domain", "space")
_ESCAPES = {"n": "\n", "\\": "\\"}
_VECTOR = re.compile(r"none|\(([^()]*)\)")


@dataclass
class NrrdHeader:
    """Fields and key/value pairs of a header, and the byte at which it ends."""

    fields: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)
    length: int = 0


@dataclass
class Axes:
    """Which stored axes are space, and which one counts channels; None if there is none."""

    spatial: tuple[int, ...]
    channel: int | None


@dataclass
class Place:
    """Where the voxels lie: 4x4 in RAS mm, the name of the file's space, and warnings.

    ``time`` holds the first time and the step, where the file's space has a fourth axis.
    """

    affine: np.ndarray
    space: str
    time: tuple[float, float] | None = None
    warnings: list[str] = field(default_factory=list)


def read_header(file: BinaryIO) -> NrrdHeader:
    """Return the header at a file's start.

    Raises:
        HeaderError: If it is not one of an NRRD file, or has no end.
    """
    magic = file.read(8)
    if not re.fullmatch(rb"NRRD000[1-6]", magic):
        raise HeaderError("is not an NRRD file; its first bytes are not those of one")
    header = NrrdHeader()
    for line in header_text.lines_of(file):
        if not line and header.fields:
            break
        _enter(header, line)
        if line.lower().startswith(("data file:", "datafile:")):
            _require_one_file(header.fields["data file"])
    header.length = file.tell()
    return header


def sizes(header: NrrdHeader) -> tuple[int, ...]:
    """Return the sizes of the stored axes, the fastest first."""
    (dimension,) = header_text.whole_numbers(need(header, "dimension"), "the dimension", 1)
    if not 1 <= dimension <= header_text.MOST_AXES:
        raise HeaderError(f"has a damaged header: it claims {dimension} axes")
    found = header_text.whole_numbers(need(header, "sizes"), "the size", dimension)
    return header_text.checked_sizes(found)


def stored_type(header: NrrdHeader, encoding: str) -> np.dtype:
    """Return the type of the stored voxels, with the file's byte order."""
    name = " ".join(need(header, "type").lower().split())
    if name not in TYPES:
        raise HeaderError(f"holds the type {name[:40]!r}; convert it to one number a voxel")
    dtype = np.dtype(TYPES[name])
    endian = header.fields.get("endian", "").lower()
    if endian in ("little", "big"):
        return dtype.newbyteorder("<" if endian == "little" else ">")
    if dtype.itemsize > 1 and encoding != "text":
        raise HeaderError("does not say in which order the bytes of a number stand (endian)")
    return dtype


def encoding_of(header: NrrdHeader) -> str:
    """Return ``"raw"``, ``"gzip"``, ``"bzip2"`` or ``"text"``."""
    name = need(header, "encoding").lower()
    if name not in ENCODINGS:
        raise HeaderError(f"has the encoding {name[:40]!r}; save it as raw or gzip")
    return ENCODINGS[name]


def axes(header: NrrdHeader, shape: tuple[int, ...]) -> Axes:
    """Return what each axis is.

    Raises:
        HeaderError: If there are not two or three axes in space and at most one other.
    """
    vectors = _directions(header, len(shape))
    kinds = _kinds(header, len(shape))
    if vectors is not None:
        # In a space with time, the axis that stands still in space is that of time.
        spatial = [a for a, one in enumerate(vectors) if one and (len(one) < 4 or any(one[:3]))]
    else:
        spatial = [a for a, kind in enumerate(kinds) if kind in (*_SPATIAL, "???", "none")][:3]
    others = [a for a in range(len(shape)) if a not in spatial]
    if vectors is not None and any(not vectors[a] and kinds[a] in _SPATIAL for a in others):
        raise HeaderError("has a damaged header: an axis of space has no direction")
    large = [a for a in others if shape[a] > 1]
    if any(kinds[a] in _COLOURS or kinds[a] == "complex" for a in others):
        raise HeaderError("holds colours or complex numbers; convert it to one number a voxel")
    if not 2 <= len(spatial) <= 3 or len(large) > 1:
        raise HeaderError(
            f"has {len(spatial)} axes in space and {len(large)} others; a volume has two or three "
            "in space and at most one other"
        )
    return Axes(tuple(spatial), next(iter(large or others), None))


def place(header: NrrdHeader, found: Axes, shape: tuple[int, ...]) -> Place:
    """Return where the voxels lie, as ITK places them.

    Raises:
        HeaderError: If a direction, spacing or origin is damaged or missing.
    """
    vectors = _directions(header, len(shape))
    name = header.fields.get("space", "").lower().removesuffix("-time")
    space = _SPACES.get(name.removesuffix("t") if len(name) == 4 else name, name)
    warnings = []
    if space not in TO_RAS:
        warnings.append("The file does not say which side is left; LPS is taken, as ITK does.")
        space = "left-posterior-superior"
    if vectors is None:
        columns, origin = _unplaced(header, found, warnings, len(shape))
    else:
        columns = [tuple((vectors[a] or ())[:3]) for a in found.spatial]
        _require_still(vectors, found)
        origin = _origin(header, warnings, len(next(filter(None, vectors))))
    with np.errstate(all="ignore"):
        affine = header_text.affine_of(columns, origin[:3])
        millimetres = _unit(header, warnings)
        affine = np.diag([millimetres] * 3 + [1.0]) @ affine if millimetres != 1 else affine
        placed = header_text.checked_place(TO_RAS[space] @ affine)
    time = None
    if found.channel is not None and len(origin) == 4 and vectors is not None:
        time = (origin[3], (vectors[found.channel] or (0.0, 0.0, 0.0, 1.0))[3])
    return Place(placed, space, time, warnings)


def need(header: NrrdHeader, name: str) -> str:
    """Return a field that must be there."""
    return header_text.need(header.fields, name)


def _enter(header: NrrdHeader, line: str) -> None:
    if line.startswith("#") or not line:
        return
    key, equals, value = line.partition(":=")
    name, colon, description = line.partition(":")
    if equals and len(key) <= len(name):
        header.pairs[key] = re.sub(r"\\(.)", lambda one: _ESCAPES.get(one[1], one[0]), value)
    elif colon:
        name = " ".join(name.lower().split())
        header.fields[_FIELD_SYNONYMS.get(name, name)] = description.strip()


def _require_one_file(name: str) -> None:
    if name.upper().startswith("LIST") or re.search(r"%\d*[diu]", name):
        raise HeaderError("spreads its voxels over several files; convert it to one file")


def _directions(header: NrrdHeader, count: int) -> list[tuple[float, ...] | None] | None:
    text = header.fields.get("space directions")
    if text is None:
        return None
    found = [one.group(1) for one in _VECTOR.finditer(text)]
    if len(found) != count:
        raise HeaderError(f"has a damaged header: {len(found)} directions for {count} axes")
    vectors = [None if one is None else _vector(one, "a direction") for one in found]
    if len({len(one) for one in vectors if one is not None}) > 1:
        raise HeaderError("has a damaged header: its directions differ in length")
    return vectors if any(one is not None for one in vectors) else None


def _vector(text: str, what: str) -> tuple[float, ...]:
    vector = header_text.numbers(text.replace(",", " "), what)
    if not 2 <= len(vector) <= 4:
        raise HeaderError(f"has a damaged header: {what} of {len(vector)} numbers")
    return vector


def _require_still(vectors: Sequence[tuple[float, ...] | None], found: Axes) -> None:
    if any((vectors[a] or ())[3:] not in ((), (0.0,)) for a in found.spatial):
        raise HeaderError("moves through time along an axis of space; save one time at a time")


def _origin(header: NrrdHeader, warnings: list[str], count: int) -> tuple[float, ...]:
    text = header.fields.get("space origin")
    if text is None:
        warnings.append("The file does not say where its first voxel lies; 0, 0, 0 is taken.")
        return (0.0,) * count
    return header_text.numbers(text.strip("() ").replace(",", " "), "the origin", count)


def _kinds(header: NrrdHeader, count: int) -> list[str]:
    kinds = header.fields.get("kinds", "").lower().split()
    if kinds and len(kinds) != count:
        raise HeaderError(f"has a damaged header: {len(kinds)} kinds for {count} axes")
    return kinds or ["???"] * count


def _unplaced(
    header: NrrdHeader, found: Axes, warnings: list[str], count: int
) -> tuple[list[tuple[float, ...]], tuple[float, ...]]:
    text = header.fields.get("spacings")
    if text is None:
        warnings.append("The file does not say how large its voxels are; 1 mm is taken.")
    spacings = header_text.numbers(text or "nan " * count, "the spacing", count)
    steps = [1.0 if np.isnan(spacings[a]) else spacings[a] for a in found.spatial]
    columns = [tuple(step * (one == a) for one in range(3)) for a, step in enumerate(steps)]
    lowest = header.fields.get("axis mins")
    if lowest is None:
        return columns, (0.0, 0.0, 0.0)
    mins = header_text.numbers(lowest, "the lowest position", count)
    centres = header.fields.get("centerings", "").lower().split()
    is_node = [a < len(centres) and centres[a] == "node" for a in found.spatial]
    halves = [0.0 if node else step / 2 for node, step in zip(is_node, steps, strict=True)]
    start = [mins[a] + half for a, half in zip(found.spatial, halves, strict=True)]
    return columns, (0.0, 0.0, 0.0) if np.isnan(start).any() else tuple(start)


def _unit(header: NrrdHeader, warnings: list[str]) -> float:
    units = set(re.findall(r'"([^"]*)"', header.fields.get("space units", "").lower())) - {""}
    known = {_MM.get(unit.strip()) for unit in units}
    if units and (len(known) > 1 or None in known):
        warnings.append("The unit of length is unknown; mm is taken.")
        return 1.0
    return known.pop() or 1.0 if known else 1.0
