"""Decode compressed pixels with GDCM, which comes with SimpleITK, in a process of its own.

GDCM gets a file made for it, with the compressed frame and the ten tags that it needs, so that no
other tag can lead it astray, and the values come out as stored.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import UID, SecondaryCaptureImageStorage

from napari_attnseg.io.format import VolumeError
from napari_attnseg.io.isolation import DECODERS, DecoderCrashError

_KEPT = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip

_ANY_INSTANCE = UID("1.2.826.0.1.3680043.8.498.1")
LARGEST_RATIO = 20_000
"""Pixels a compressed byte; a header that promises more lies."""


def decode(frame: bytes, header: pydicom.Dataset, syntax: UID, path: Path) -> np.ndarray:
    """Return one frame's stored values, ``(rows, columns)``.

    Args:
        frame: Its compressed bytes.
        header: The file's pixel tags.
        syntax: How it is compressed.
        path: The file it came from, for messages.

    Raises:
        VolumeError: If it is damaged or compressed in a way that is not known.
    """
    pixels = int(header.Rows) * int(header.Columns)
    if pixels > len(frame) * LARGEST_RATIO:
        raise VolumeError(
            f"{path.name!r} is damaged: its header promises {header.Rows} x {header.Columns} "
            f"pixels from {len(frame)} bytes."
        )
    alone = io.BytesIO()
    _file_of(frame, header, syntax).save_as(alone, enforce_file_format=True)
    largest = pixels * max(int(header.BitsAllocated) // 8, 1)
    try:
        _, values = DECODERS.ask({"decoder": "dicom"}, alone.getvalue(), largest)
    except DecoderCrashError:
        raise VolumeError(
            f"{path.name!r} is probably damaged: the decoder of its pixels ({syntax.name}) "
            "crashed. Copy it again from its source, or export the series uncompressed."
        ) from None
    if values is None or values.size != values.shape[-1] * values.shape[-2]:
        raise VolumeError(
            f"{path.name!r} cannot be decompressed: its pixels ({syntax.name}) are damaged or "
            "of an unsupported kind. Export the series uncompressed."
        )
    return _typed(values.reshape(values.shape[-2:]), header)


def _file_of(frame: bytes, header: pydicom.Dataset, syntax: UID) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = _ANY_INSTANCE
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = _ANY_INSTANCE
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for name in _KEPT:
        dataset[name] = header[name]
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return dataset


def _typed(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Return values in the type that the header names; GDCM may give a wider one."""
    kind = "i" if header.PixelRepresentation else "u"
    return values.astype(f"{kind}{int(header.BitsAllocated) // 8}")
