from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

SECRETS = {
    "PatientName": "SECRET^NAME",
    "PatientID": "SECRET-ID-4711",
    "PatientBirthDate": "19010203",
    "StudyDate": "20010304",
    "AcquisitionDate": "20010304",
    "InstitutionName": "SECRET HOSPITAL",
}
SPACING_DHW = (2.5, 1.25, 0.75)
STRAIGHT = np.eye(3)


def _turned() -> np.ndarray:
    """Return the directions of columns, rows and slices of an oblique series, LPS."""
    directions, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)) + 3 * np.eye(3))
    directions[:, 2] = np.cross(directions[:, 0], directions[:, 1])
    return directions


def _blank(name: str, series: str, syntax: str = ExplicitVRLittleEndian) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    for key, value in SECRETS.items():
        setattr(dataset, key, value)
    dataset.SOPClassUID = name
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = name
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = "1.2.3.4"
    dataset.SeriesInstanceUID = series
    dataset.FrameOfReferenceUID = "1.2.3.5"
    dataset.Modality = "CT"
    dataset.PatientSex = dataset.StudyID = dataset.StudyTime = dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    return dataset


def _set_pixels(dataset: pydicom.Dataset, values: np.ndarray) -> None:
    rows, columns = values.shape[-2:]
    bits = values.dtype.itemsize * 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"


def _write_series(
    folder: Path,
    values: np.ndarray,
    *,
    directions: np.ndarray = STRAIGHT,
    names: Sequence[str] | None = None,
    positions: np.ndarray | None = None,
    change: Callable[[pydicom.Dataset, int], None] = lambda dataset, k: None,
    **tags: Any,
) -> np.ndarray:
    """Write a slice of ``(D, H, W)`` values a file; return the affine they lie in, LPS.

    Args:
        folder: Where to; made if need be.
        values: Stored values.
        directions: Columns are those of columns, rows and slices.
        names: Of the files, in the order of the slices.
        positions: LPS of each first pixel, in place of even ones.
        change: Called with each data set before it is written.
        **tags: Of every slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.eye(4)
    affine[:3, :3] = directions * SPACING_DHW[::-1]
    affine[:3, 3] = (-30.5, 12.25, 140.0)
    series = tags.pop("SeriesInstanceUID", generate_uid())
    for k, plane in enumerate(values):
        dataset = _blank(CTImageStorage, series)
        place = affine[:3, 3] + k * affine[:3, 2] if positions is None else positions[k]
        dataset.ImagePositionPatient = [f"{mm:.10g}" for mm in place]
        dataset.ImageOrientationPatient = [f"{one:.10g}" for one in directions.T[:2].ravel()]
        dataset.PixelSpacing = list(SPACING_DHW[1:])
        dataset.SliceThickness = SPACING_DHW[0]
        dataset.InstanceNumber = k + 1
        _set_pixels(dataset, plane)
        for key, value in tags.items():
            setattr(dataset, key, value)
        change(dataset, k)
        name = names[k] if names else f"IM{k:04d}"
        dataset.save_as(folder / name, enforce_file_format=True)
    return affine


def _group(**macros: dict[str, Any]) -> pydicom.Dataset:
    group = pydicom.Dataset()
    for sequence, tags in macros.items():
        item = pydicom.Dataset()
        for key, value in tags.items():
            setattr(item, key, value)
        setattr(group, sequence, [item])
    return group


def _write_enhanced(
    path: Path, values: np.ndarray, *, order: Sequence[int], slopes: Sequence[float] | None = None
) -> np.ndarray:
    """Write ``(D, H, W)`` values as one enhanced multi-frame file; return the affine, LPS."""
    dataset = _blank(EnhancedMRImageStorage, generate_uid())
    dataset.Modality = "MR"
    affine = np.eye(4)
    affine[:3, :3] = _turned() * SPACING_DHW[::-1]
    affine[:3, 3] = (-30.5, 12.25, 140.0)
    _set_pixels(dataset, values[list(order)])
    dataset.NumberOfFrames = len(values)
    measures = {"PixelSpacing": list(SPACING_DHW[1:]), "SliceThickness": SPACING_DHW[0]}
    directions = [f"{one:.10g}" for one in _turned().T[:2].ravel()]
    dataset.SharedFunctionalGroupsSequence = [
        _group(
            PixelMeasuresSequence=measures,
            PlaneOrientationSequence={"ImageOrientationPatient": directions},
        )
    ]
    groups = []
    for k in order:
        place = [f"{mm:.10g}" for mm in affine[:3, 3] + k * affine[:3, 2]]
        group = _group(PlanePositionSequence={"ImagePositionPatient": place})
        if slopes is not None:
            scaling = {"RescaleSlope": str(slopes[k]), "RescaleIntercept": "-3.5"}
            group.update(_group(PixelValueTransformationSequence=scaling))
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return affine


@pytest.fixture(scope="session")
def write_series() -> Callable[..., np.ndarray]:
    return _write_series


@pytest.fixture(scope="session")
def write_enhanced() -> Callable[..., np.ndarray]:
    return _write_enhanced


@pytest.fixture(scope="session")
def turned() -> np.ndarray:
    return _turned()


@pytest.fixture(scope="session")
def secrets() -> list[str]:
    """Return what must never leave a file: the patient's name, number, dates and hospital."""
    return ["SECRET", "4711", "19010203", "20010304"]


@pytest.fixture(scope="session")
def in_ras() -> np.ndarray:
    """Return the matrix that turns LPS into RAS."""
    return np.diag([-1.0, -1.0, 1.0, 1.0])
