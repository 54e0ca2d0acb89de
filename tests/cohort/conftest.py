from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from napari_attnseg.io import write_volume
from napari_attnseg.volume import Volume

Write = Callable[..., Path]


def small_volume(
    values: tuple[int, ...] = (), *, channels: int = 1, shift_mm: float = 0.0
) -> Volume:
    """Return an image, or with values a label map that holds them, of three different sizes."""
    affine = np.diag([1.0, 1.5, 2.0, 1.0])
    affine[2, 3] = shift_mm
    data = np.arange(channels * 4 * 5 * 6).reshape(channels, 4, 5, 6).astype(np.int16)
    if values:
        data = np.zeros((1, 4, 5, 6), dtype=np.uint8)
        for place, value in enumerate(values):
            data[0, place] = value
    return Volume(data, affine)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a small volume at a path below the test's folder."""

    def write_one(path: str, *values: int, channels: int = 1, shift_mm: float = 0.0) -> Path:
        volume = small_volume(values, channels=channels, shift_mm=shift_mm)
        return write_volume(tmp_path / path, volume)

    return write_one


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write JSON at a path below the test's folder."""

    def write_one(path: str, content: Any) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
        return file

    return write_one


@pytest.fixture
def write_series() -> Callable[..., None]:
    """Write a DICOM series, a file a slice, in a folder."""
    return _write_series


def _write_series(
    folder: Path,
    values: np.ndarray,
    *,
    names: str = "{:04d}.dcm",
    step: float = 1.0,
    description: str = "",
    patient: str = "SECRET^NAME",
) -> None:
    """Write slices ``(D, H, W)``; the n-th file lies ``n * step * 3`` mm up.

    The folder becomes the series' own: two folders hold two series.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid(entropy_srcs=[str(folder), names])
    for at, pixels in enumerate(values):
        one = pydicom.Dataset()
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = MRImageStorage
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        one.SeriesInstanceUID, one.SeriesDescription, one.Modality = series, description, "MR"
        one.StudyInstanceUID = one.FrameOfReferenceUID = "1.2.3"
        one.PatientName, one.PatientID, one.PatientBirthDate = patient, "SECRET-ID", "19010203"
        one.PatientSex = one.StudyID = one.StudyDate = one.StudyTime = ""
        one.AccessionNumber = one.ReferringPhysicianName = ""
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.ImagePositionPatient = [-10.0, 5.0, at * step * 3.0]
        one.PixelSpacing, one.SliceThickness = [1.5, 1.25], 3.0
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.Rows, one.Columns = pixels.shape
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.PixelData = pixels.astype(np.int16).tobytes()
        pydicom.dcmwrite(folder / names.format(at), one, enforce_file_format=True)
