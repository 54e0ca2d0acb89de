"""Ways to damage the files of one seed; each takes and returns the bytes of one file."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import re
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

Random = np.random.Generator
Mutation = Callable[[bytes, Random], bytes]

HEADER = 600
NUMBERS = (
    "0", "-1", "1", "2", "3", "7", "255", "65535", "65536", "2147483647", "-2147483648",
    "4294967296", "9223372036854775807", "99999999999999999999", "1e308", "-1e-308", "nan", "inf",
    "0.0", "1e5", "", "x", "true", "None", "(1,2,3)", "none", "9" * 400,
)  # fmt: skip
LEAVES: tuple[Any, ...] = (
    0, -1, 1, 3, 65536, 2**31, 2**63, 2**70, 1e308, -0.5, float("nan"), True, None, "", "x", "<i2",
    ">f8", "|O", "|S9", [], [1], [0, 0, 0, 0], [10**9] * 4, {}, {"id": "zlib"}, {"name": "gzip"},
)  # fmt: skip
TAGS = (
    "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient",
    "RescaleSlope", "RescaleIntercept", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID",
    "Modality", "SeriesNumber", "SeriesDescription", "PixelData", "SegmentationType",
    "MaximumFractionalValue", "SegmentSequence", "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence", "ReferencedSeriesSequence", "ROIContourSequence",
    "StructureSetROISequence", "EchoTime", "SpecificCharacterSet",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    0, 1, 2, 7, 16, 33, 255, 65535, -1, 1e300, "0", "-1", "x", "", None, [], ["0", "0"], "1.2.3",
    ["nan"] * 3, ["1", "0", "0", "0", "0", "1"], ["1e9"] * 6, b"", b"\0" * 33, b"\xff" * 126,
    "YBR_FULL", "FRACTIONAL", "\\ISO_IR 999", "A" * 5000,
)  # fmt: skip


def flip_bits(content: bytes, random: Random) -> bytes:
    damaged = bytearray(content)
    for at in _places(content, random):
        damaged[at] ^= 1 << int(random.integers(8))
    return bytes(damaged)


def set_bytes(content: bytes, random: Random) -> bytes:
    damaged = bytearray(content)
    for at in _places(content, random):
        damaged[at] = int(random.choice([0, 1, 127, 128, 255, int(random.integers(256))]))
    return bytes(damaged)


def set_number(content: bytes, random: Random) -> bytes:
    kind = str(random.choice(["<i2", ">i2", "<i4", ">i4", "<f4", ">f4", "<i8", "<f8"]))
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        values: tuple[float, ...] = (0, -1, 1e30, np.nan, np.inf, 1e-38)
    else:
        limits = np.iinfo(dtype)
        values = (0, -1, 1, 7, 348, limits.max, limits.min, limits.max // 2)
    number = np.array(values[int(random.integers(len(values)))], dtype).tobytes()
    at = int(random.integers(max(min(len(content), HEADER) - len(number), 1)))
    return content[:at] + number + content[at + len(number) :]


def cut(content: bytes, random: Random) -> bytes:
    end = len(content) if random.random() < 0.5 else min(HEADER, len(content))
    return content[: int(random.integers(end + 1))]


def append(content: bytes, random: Random) -> bytes:
    return content + random.bytes(int(random.integers(1, 400)))


def remove_block(content: bytes, random: Random) -> bytes:
    start, end = _block(content, random)
    return content[:start] + content[end:]


def repeat_block(content: bytes, random: Random) -> bytes:
    start, end = _block(content, random)
    return content[:end] + content[start:end] * int(random.integers(1, 4)) + content[end:]


def blank_block(content: bytes, random: Random) -> bytes:
    start, end = _block(content, random)
    return content[:start] + random.choice([b"\0", b"\xff", b" "]) * (end - start) + content[end:]


def set_word(content: bytes, random: Random) -> bytes:
    """Replace a number in text, as headers of NRRD, MetaImage and JSON have them."""
    words = [one.span() for one in re.finditer(rb"-?\d[\d.]*", content[: 4 * HEADER])]
    if not words:
        return set_number(content, random)
    start, end = words[int(random.integers(len(words)))]
    return content[:start] + str(random.choice(NUMBERS)).encode() + content[end:]


def change_line(content: bytes, random: Random) -> bytes:
    lines = content.split(b"\n")
    at = int(random.integers(min(len(lines), 20)))
    other = lines[int(random.integers(min(len(lines), 20)))]
    lines[at : at + 1] = [[], [other], [lines[at]] * 2][int(random.integers(3))]
    return b"\n".join(lines)


def inside_packed(content: bytes, random: Random) -> bytes:
    """Damage what was packed, so that the checksum of the package still fits."""
    for unpack, pack in (
        (gzip.decompress, lambda one: gzip.compress(one, 1)),
        (zlib.decompress, zlib.compress),
        (bz2.decompress, bz2.compress),
    ):
        start = max(content.find(b"\n\n") + 2, content.find(b"LOCAL\n") + 6)
        for at in {0, start if start > 5 else 0}:
            try:
                plain = unpack(content[at:])
            except (OSError, EOFError, ValueError, zlib.error):
                continue
            return content[:at] + pack(_one_of(PLAIN, random)(plain, random))
    return flip_bits(content, random)


def set_tag(content: bytes, random: Random) -> bytes:
    """Set, empty or remove tags of a DICOM file, at the top or in any sequence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(content))
            for _ in range(int(random.integers(1, 4))):
                _change_tag(_any_level(dataset, random), random)
            out = io.BytesIO()
            dataset.save_as(out, enforce_file_format=False)
            return out.getvalue()
    except Exception:  # noqa: BLE001 - what pydicom will not write is damaged otherwise
        return set_bytes(content, random)


def set_leaf(content: bytes, random: Random) -> bytes:
    """Change or remove one value anywhere in JSON."""
    try:
        document = json.loads(content)
    except ValueError:
        return set_word(content, random)
    parents = [one for one in _parts(document) if one]
    if not parents:
        return set_word(content, random)
    parent = parents[int(random.integers(len(parents)))]
    keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    key = keys[int(random.integers(len(keys)))]
    if random.random() < 0.2:
        del parent[key]
    else:
        parent[key] = LEAVES[int(random.integers(len(LEAVES)))]
    return json.dumps(document).encode()


PLAIN: tuple[Mutation, ...] = (
    flip_bits, set_bytes, set_number, set_number, cut, append, remove_block, repeat_block,
    blank_block, set_word, set_word, change_line,
)  # fmt: skip


def damage(folder: Path, random: Random) -> str:
    """Damage one or two files below a folder, or remove one; return how, for the report."""
    told: list[str] = []
    for _ in range(1 + int(random.random() < 0.15)):
        files = sorted(one for one in folder.rglob("*") if one.is_file())
        if not files:
            break
        path = files[int(random.integers(len(files)))]
        if random.random() < 0.02:
            path.unlink()
            told.append(f"{path.name} removed")
            continue
        mutation = _one_of(_fitting(path), random)
        content = path.read_bytes()
        path.write_bytes(mutation(content, random) if content else random.bytes(20))
        told.append(f"{path.name} {mutation.__name__}")
    return ", ".join(told)


def _fitting(path: Path) -> tuple[Mutation, ...]:
    if path.suffix == ".json" or path.name.startswith(".z"):
        return (*PLAIN, *[set_leaf] * 24)
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return (*PLAIN, *[set_tag] * 12)
    return (*PLAIN, *[inside_packed] * 6)


def _one_of(mutations: tuple[Mutation, ...], random: Random) -> Mutation:
    return mutations[int(random.integers(len(mutations)))]


def _places(content: bytes, random: Random) -> np.ndarray:
    end = len(content) if random.random() < 0.4 else min(HEADER, len(content))
    return random.integers(end, size=int(random.integers(1, 6))) if end else np.array([], int)


def _block(content: bytes, random: Random) -> tuple[int, int]:
    start = int(random.integers(max(min(len(content), 2 * HEADER), 1)))
    return start, min(start + int(random.integers(1, 64)), len(content))


def _parts(document: Any) -> list[Any]:
    if isinstance(document, dict):
        return [document, *(part for one in document.values() for part in _parts(one))]
    if isinstance(document, list):
        return [document, *(part for one in document for part in _parts(one))]
    return []


def _any_level(dataset: pydicom.Dataset, random: Random) -> pydicom.Dataset:
    inner = [item for one in dataset if one.VR == "SQ" for item in one.value]
    if inner and random.random() < 0.5:
        return _any_level(inner[int(random.integers(len(inner)))], random)
    return dataset


def _change_tag(dataset: pydicom.Dataset, random: Random) -> None:
    there = [one.keyword for one in dataset if one.keyword]
    some = there if random.random() < 0.7 and there else list(TAGS)
    name = some[int(random.integers(len(some)))]
    if random.random() < 0.15:
        if name in dataset:
            delattr(dataset, name)
        return
    value = VALUES[int(random.integers(len(VALUES)))]
    if name in dataset:
        # Past the checks of pydicom, which would refuse what a damaged file may hold.
        dataset[name]._value = value
    else:
        setattr(dataset, name, value)
