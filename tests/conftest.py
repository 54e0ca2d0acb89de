from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

# Two tests run at a time; one thread each is fastest overall.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NAPARI_CONFIG", "")

SHARED_DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real volumes, which stands beside the checkout where it exists."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real volumes in ../shared/data are not on this machine")
    return SHARED_DATA


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
