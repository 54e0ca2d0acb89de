"""What a MetaImage header says about shape, type and place, as ITK understands it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from napari_attnseg.io import header_text
from napari_attnseg.io.format import HeaderError
from napari_attnseg.volume import Volume, affine_for_itk

TYPES = {
    "MET_UCHAR": "uint8", "MET_CHAR": "int8", "MET_USHORT": "uint16", "MET_SHORT": "int16",
    "MET_UINT": "uint32", "MET_INT": "int32", "MET_ULONG": "uint32", "MET_LONG": "int32",
    "MET_ULONG_LONG": "uint64", "MET_LONG_LONG": "int64",
    "MET_FLOAT": "float32", "MET_DOUBLE": "float64",
}  # fmt: skip
TYPE_NAMES = {
    dtype: name for name, dtype in TYPES.items() if name not in ("MET_ULONG", "MET_LONG")
}
_SYNONYMS = {
    "ElementSize": "ElementSpacing",
    "Position": "Offset",
    "Origin": "Offset",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}
PLACING = ("TransformMatrix", "Offset", "CenterOfRotation", "ElementSpacing", "DistanceUnits")
_OPPOSITE = str.maketrans("LRAPIS", "RLPASI")
_MM = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1000.0}


@dataclass
class MetaImageHeader:
    """Fields of a header, and the byte at which it ends."""

    fields: dict[str, str] = field(default_factory=dict)
    length: int = 0

    def is_true(self, name: str, *, otherwise: bool) -> bool:
        """Return what a field that is true or false says."""
        value = self.fields.get(name)
        return otherwise if value is None else value[:1] in ("T", "t", "1")


def read_header(file: BinaryIO) -> MetaImageHeader:
    """Return the header at a file's start.

    Raises:
        HeaderError: If it is not one of a MetaImage, or has no end.
    """
    header = MetaImageHeader()
    start = file.read(1024)
    if not re.match(rb"\s*\w+\s*=", start) or b"NDims" not in start:
        raise HeaderError("is not a MetaImage; its first line is not that of one")
    file.seek(0)
    for line in header_text.lines_of(file):
        name, _, value = line.partition("=")
        name = _SYNONYMS.get(name.strip(), name.strip())
        # ElementSize may stand beside the spacing, which then decides.
        if "ElementSize" not in line or "ElementSpacing" not in header.fields:
            header.fields[name] = value.strip()
        if name == "ElementDataFile":
            break
    if header.fields.get("ObjectType", "Image") != "Image":
        raise HeaderError("is a MetaIO object that is no image")
    header.length = file.tell()
    return header


def sizes(header: MetaImageHeader) -> tuple[int, ...]:
    """Return the sizes of the stored axes, the fastest first."""
    (count,) = header_text.whole_numbers(
        header_text.need(header.fields, "NDims"), "the number of axes", 1
    )
    if not 2 <= count <= 4:
        raise HeaderError(f"has {count} axes; a volume has two to four")
    found = header_text.whole_numbers(
        header_text.need(header.fields, "DimSize"), "the size", count
    )
    return header_text.checked_sizes(found)


def channels(header: MetaImageHeader) -> int:
    """Return how many numbers stand together in a voxel."""
    text = header.fields.get("ElementNumberOfChannels", "1")
    (count,) = header_text.whole_numbers(text, "the number of channels", 1)
    if count < 1:
        raise HeaderError(f"has a damaged header: it claims {count} channels")
    return count


def stored_type(header: MetaImageHeader) -> np.dtype:
    """Return the type of the stored voxels, with the file's byte order."""
    name = header_text.need(header.fields, "ElementType").removesuffix("_ARRAY")
    if name not in TYPES:
        raise HeaderError(f"holds the type {name[:40]!r}; convert it to one number a voxel")
    is_big = header.is_true("BinaryDataByteOrderMSB", otherwise=False)
    return np.dtype(TYPES[name]).newbyteorder(">" if is_big else "<")


def affine(header: MetaImageHeader, shape: tuple[int, ...], warnings: list[str]) -> np.ndarray:
    """Return the 4x4 in RAS mm, as ITK places an image.

    As ITK does, ``CenterOfRotation`` and ``AnatomicalOrientation`` are passed over: ITK writes
    the offset of the first voxel, not of a centre, and world LPS whatever the letters say.

    Raises:
        HeaderError: If a number is damaged, or time and space are mixed.
    """
    count = len(shape)
    fields = header.fields
    if "ElementSpacing" not in fields:
        warnings.append("The file does not say how large its voxels are; 1 mm is taken.")
    if "Offset" not in fields:
        warnings.append("The file does not say where its first voxel lies; 0, 0, 0 is taken.")
    spacing = header_text.numbers(fields.get("ElementSpacing", "1 " * count), "spacing", count)
    origin = header_text.numbers(fields.get("Offset", "0 " * count), "the offset", count)
    identity = " ".join(str(int(one)) for one in np.eye(count).ravel())
    written = fields.get("TransformMatrix", identity)
    matrix = np.array(header_text.numbers(written, "the matrix", count**2)).reshape(count, count)
    if not all(0 < one < math.inf for one in spacing):
        raise HeaderError(f"has a damaged header: the spacing is {fields['ElementSpacing'][:40]}")
    if any(abs(one) > 1e-9 for one in (*matrix[:3, 3:].ravel(), *matrix[3:, :3].ravel())):
        raise HeaderError("moves through time along an axis of space; save one time at a time")
    spatial = min(count, 3)
    # A row of the matrix is the direction of an axis.
    with np.errstate(all="ignore"):
        columns = [(spacing[a] * matrix[a, :spatial]).tolist() for a in range(spatial)]
        placed = header_text.affine_of(columns, origin[:spatial])
        unit = _MM.get(fields.get("DistanceUnits", "mm").lower(), 1.0)
        placed = np.diag([unit] * 3 + [1.0]) @ placed if unit != 1 else placed
        return header_text.checked_place(affine_for_itk(placed))


def placing_fields(volume: Volume, count: int) -> dict[str, str]:
    """Return the fields that place a volume of two to four stored axes."""
    placed = affine_for_itk(volume.affine)
    spatial = min(count, 3)
    spacing = np.ones(count)
    spacing[:spatial] = np.linalg.norm(placed[:3, :spatial], axis=0)
    matrix, origin = np.eye(count), np.zeros(count)
    matrix[:spatial, :spatial] = (placed[:spatial, :spatial] / spacing[:spatial]).T
    origin[:spatial] = placed[:spatial, 3]
    letters = volume.orientation.translate(_OPPOSITE)
    # Minus zero is a number that only puzzles readers.
    return {
        "TransformMatrix": _joined(matrix.ravel() + 0.0),
        "Offset": _joined(origin + 0.0),
        "CenterOfRotation": _joined(np.zeros(count)),
        "AnatomicalOrientation": letters if count == 3 else "?" * count,
        "ElementSpacing": _joined(spacing),
    }


def _joined(values: np.ndarray) -> str:
    return " ".join(header_text.exactly(values))
