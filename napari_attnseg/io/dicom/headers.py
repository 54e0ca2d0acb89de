"""What a DICOM file says about its slices, one `Frame` a slice; nothing of the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from napari_attnseg.io.dicom.files import damage_named, read_tags
from napari_attnseg.io.format import VolumeError

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
MOST_FRAMES = 100_000

DISTINGUISHING = (
    "EchoTime", "EchoNumbers", "TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue",
    "TemporalPositionIndex", "NominalCardiacTriggerDelayTime", "EffectiveEchoTime",
    "ComplexImageComponent", "AcquisitionNumber",
)  # fmt: skip
"""What may tell images of one place apart: a time, an echo, a strength of diffusion."""

_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
    "Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
    "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    *DISTINGUISHING,
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One slice: where its pixels are, where it lies, how stored values become real ones.

    Args:
        path: The file.
        index: Which frame of the file, from 0.
        size: Rows and columns.
        position: LPS mm of the centre of the first pixel, or None.
        directions: ``(2, 3)``: LPS directions in which columns and rows are counted, or None.
        spacing: mm between rows and between columns, or None.
        thickness: mm by which a lone slice extends, or None.
        slope, intercept: Of the rescaling.
        marks: What may tell it from other slices at the same place.
    """

    path: Path
    index: int
    size: tuple[int, int]
    position: np.ndarray | None
    directions: np.ndarray | None
    spacing: tuple[float, float] | None
    thickness: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    marks: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """One file: which series it belongs to, and its slices.

    Args:
        path: The file.
        series: The series' unique identifier.
        instance: Its own.
        number: The series' number, 0 if unknown.
        description: What the series is called.
        modality: Such as ``"CT"``.
        is_image: Whether it holds pixels of its own.
        is_segmentation: Whether these are segments.
        refusal: Why its pixels are no slices of a volume, or None.
        frames: Its slices.
    """

    path: Path
    series: str
    instance: str = ""
    number: int = 0
    description: str = ""
    modality: str = ""
    is_image: bool = False
    is_segmentation: bool = False
    refusal: str | None = None
    frames: tuple[Frame, ...] = ()


def read_header(path: Path) -> Header:
    """Return what a DICOM file says of its slices.

    A damaged file is refused only where its series is read, if it still says which that is.

    Raises:
        VolumeError: If the header is damaged so far that its series is not known.
    """
    try:
        dataset = read_tags(path, _TAGS)
        with damage_named(path):
            return _header(path, dataset)
    except VolumeError:
        series = str(read_tags(path, ("SeriesInstanceUID",)).get("SeriesInstanceUID") or "")
        if not series:
            raise
        why = "is damaged: its DICOM header cannot be read; copy it again from its source"
        return Header(path=path, series=series, is_image=True, refusal=why)


def _header(path: Path, dataset: pydicom.Dataset) -> Header:
    kind = _sop_class(dataset)
    is_image = "Rows" in dataset and "Columns" in dataset and kind != DIRECTORY_CLASS
    is_segmentation = kind in SEGMENTATION_CLASSES
    if not (is_image or kind or dataset.get("SeriesInstanceUID")):
        raise VolumeError(f"{path.name!r} is damaged: its DICOM header says nothing.")
    refusal = _refusal(dataset) if is_image else None
    is_stackable = is_image and not is_segmentation and refusal is None
    return Header(
        path=path,
        instance=str(dataset.get("SOPInstanceUID") or ""),
        series=str(dataset.get("SeriesInstanceUID") or ""),
        number=int(dataset.get("SeriesNumber") or 0),
        description=_plain(dataset.get("SeriesDescription")),
        modality=_plain(dataset.get("Modality")),
        is_image=is_image,
        is_segmentation=is_segmentation,
        refusal=refusal,
        frames=tuple(_frames(path, dataset)) if is_stackable else (),
    )


def _sop_class(dataset: pydicom.Dataset) -> str:
    meta = getattr(dataset, "file_meta", None) or {}
    return str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")


def _plain(value: Any) -> str:
    return "".join(one for one in str(value or "") if one.isprintable()).strip()[:64]


def _refusal(dataset: pydicom.Dataset) -> str | None:
    """Return why a file's pixels cannot be slices of a volume, or None."""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    colours = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    if samples != 1 or not colours.startswith("MONOCHROME"):
        return (
            f"holds colours ({samples} values a pixel, {_plain(colours)}), not intensities; "
            "export the original grey-scale series"
        )
    if dataset.get("ModalityLUTSequence"):
        return (
            "maps its values through a look-up table, which is not supported; export it with a "
            "rescale slope and intercept"
        )
    if int(dataset.get("Rows") or 0) < 1 or int(dataset.get("Columns") or 0) < 1:
        return "holds no pixels: its rows or columns are 0"
    count = int(dataset.get("NumberOfFrames") or 1)
    if not 1 <= count <= MOST_FRAMES:
        return f"says that it holds {count} frames; its header is damaged"
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if (count > 1 or groups) and len(groups) != count:
        return (
            f"holds {count} frames but the places of {len(groups)} of them; export it as "
            "single slices or as enhanced multi-frame"
        )
    return None


def _frames(path: Path, dataset: pydicom.Dataset) -> list[Frame]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or [None]
    return [
        _frame(path, index, [one for one in (group, shared, dataset) if one is not None])
        for index, group in enumerate(own)
    ]


def _frame(path: Path, index: int, levels: list[pydicom.Dataset]) -> Frame:
    """Return one slice; its values stand in the frame's group, the shared one or the file."""
    dataset = levels[-1]
    spacing = numbers(_find(levels, "PixelMeasuresSequence", "PixelSpacing"), 2)
    directions = numbers(_find(levels, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    values = "PixelValueTransformationSequence"
    slope = numbers(_find(levels, values, "RescaleSlope"), 1)
    intercept = numbers(_find(levels, values, "RescaleIntercept"), 1)
    return Frame(
        path=path,
        index=index,
        size=(int(dataset.Rows), int(dataset.Columns)),
        position=numbers(_find(levels, "PlanePositionSequence", "ImagePositionPatient"), 3),
        directions=None if directions is None else directions.reshape(2, 3),
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        thickness=_thickness(levels),
        slope=1.0 if slope is None else float(slope[0]),
        intercept=0.0 if intercept is None else float(intercept[0]),
        marks=_marks(levels),
    )


def _thickness(levels: list[pydicom.Dataset]) -> float | None:
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        found = numbers(_find(levels, "PixelMeasuresSequence", name), 1)
        if found is not None and found[0] > 0:
            return float(found[0])
    return None


def _marks(levels: list[pydicom.Dataset]) -> dict[str, float | str]:
    marks: dict[str, float | str] = {}
    for name in DISTINGUISHING:
        value = next((one for level in levels if (one := _deep(level, name)) is not None), None)
        if value is not None:
            marks[name] = value if isinstance(value, str) else float(value)
    return marks


def _deep(level: pydicom.Dataset, name: str) -> Any:
    """Return a tag of a functional group, whichever of its macros holds it."""
    if level.get(name) not in (None, ""):
        return level[name].value
    macros = (one.value for one in level if one.VR == "SQ" and len(one.value) == 1)
    if not ("PerFrameFunctionalGroupsSequence" in level or "Rows" in level):
        for macro in macros:
            if macro[0].get(name) not in (None, ""):
                return macro[0][name].value
    return None


def _find(levels: list[pydicom.Dataset], sequence: str, name: str) -> Any:
    for level in levels:
        macro = level.get(sequence)
        if macro and macro[0].get(name) is not None:
            return macro[0][name].value
    return levels[-1].get(name)


def numbers(value: Any, count: int) -> np.ndarray | None:
    """Return a tag's numbers, or None if it is absent or has not so many.

    Raises:
        ValueError: If one is not finite.
    """
    if value is None or value == "":
        return None
    found = np.atleast_1d(np.array(value, dtype=np.float64))
    if found.size != count:
        return None
    if not np.isfinite(found).all():
        raise ValueError("not finite")
    return found
