"""Write a label map as a DICOM segmentation that refers to the series it was drawn on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
from pydicom.sr.coding import Code

from napari_attnseg.io.atomic import atomic_write
from napari_attnseg.io.dicom.headers import Frame, read_header
from napari_attnseg.io.dicom.image import image_grid
from napari_attnseg.io.dicom.segment_codes import code_of
from napari_attnseg.io.dicom.segmentation import VALUE_NOTE
from napari_attnseg.io.dicom.series import Series
from napari_attnseg.io.format import VolumeError
from napari_attnseg.io.labels import as_label_map, smallest_type, values_in
from napari_attnseg.volume import Grid, Volume, require_same_grid

_EXPECTED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Tags that a file must have but may leave empty."""


def write_segmentation(path: Path, mask: Volume) -> None:
    """Write each class of a label map as one segment of a DICOM file.

    Its voxels may be stored in another order than the series'; they must be the same ones.

    Args:
        path: The file to write.
        mask: Whole numbers, one channel; its storage names the files of the series.

    Raises:
        VolumeError: If it is no label map, or its series is not known or lacks what is needed.
        GridMismatchError: If the mask is on another grid than the series.
        OSError: If the file cannot be written; what was there stays.
    """
    highdicom = _highdicom()
    found = _source_series(path, mask)
    grid, frames = image_grid(found, path.name)
    data, classes = _label_map(path, mask, grid)
    files = list(dict.fromkeys(one.path for one in frames))
    values = sorted(classes)
    described = [_described(highdicom, at, one, classes[one]) for at, one in enumerate(values, 1)]
    # The place of a value among the values, the background first, is its segment's number.
    numbered = np.searchsorted([0, *values], data).astype(smallest_type(len(values)))
    pixels = _in_file_order(numbered, frames, files, path)
    made = _made(highdicom, path, [_whole(one) for one in files], pixels, described)
    with atomic_write(path) as file:
        made.save_as(file, enforce_file_format=True)


def _highdicom() -> ModuleType:
    try:
        import highdicom
    except ImportError as error:
        raise VolumeError(
            "Writing a DICOM segmentation needs highdicom: pip install napari-attnseg[dicom-seg]."
        ) from error
    return highdicom


def _source_series(path: Path, mask: Volume) -> Series:
    files = mask.storage.extra.get("files", ()) if mask.storage is not None else ()
    if not files:
        raise VolumeError(
            f"{path.name!r} cannot be written: a DICOM segmentation refers to the DICOM series it "
            "was drawn on, and this mask came from none. Name the series, or save as .nii.gz."
        )
    missing = [one for one in files if not Path(one).exists()]
    if missing:
        raise VolumeError(
            f"{path.name!r} cannot be written: {len(missing)} of {len(files)} files of the series "
            "it was drawn on are no longer where they were."
        )
    return Series(tuple(read_header(Path(one)) for one in files))


def _label_map(path: Path, mask: Volume, grid: Grid) -> tuple[np.ndarray, dict[int, str]]:
    """Return values ``(D, H, W)`` in the order of the series, and the name of each class."""
    mask = as_label_map(mask, path)
    mask = mask.reoriented(grid.orientation)
    require_same_grid(grid, mask.grid, names=("DICOM series", "mask"))
    data = mask.data[0]
    present = [one for one in values_in(data) if one > 0]
    names = {value: name for value, name in mask.classes.items() if value > 0}
    classes = {**{one: f"class {one}" for one in present}, **names}
    if not classes:
        raise VolumeError(
            f"{path.name!r} cannot be written: the mask is empty and names no class, and a DICOM "
            "segmentation needs one."
        )
    return np.asarray(data), dict(sorted(classes.items()))


def _described(highdicom: ModuleType, number: int, value: int, name: str) -> Any:
    from napari_attnseg import __version__

    code = code_of(name, value)
    made_by = highdicom.AlgorithmIdentificationSequence(
        name="napari-attnseg",
        version=__version__,
        family=Code("123110", "DCM", "Artificial Intelligence"),
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64] or f"class {value}",
        segmented_property_category=code.category,
        segmented_property_type=code.kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=made_by,
    )
    segment.SegmentDescription = VALUE_NOTE.format(value)
    if code.side is not None:
        modifier = highdicom.sr.CodedConcept.from_code(code.side)
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            modifier
        ]
    return segment


def _in_file_order(
    data: np.ndarray, frames: Sequence[Frame], files: Sequence[Path], path: Path
) -> np.ndarray:
    """Return slices in the order in which highdicom expects them: of files, or of frames."""
    if len(files) == len(frames):
        return data
    if len(files) > 1:
        raise VolumeError(
            f"{path.name!r} cannot be written: the series is spread over {len(files)} multi-frame "
            "files, and a segmentation refers to one. Save as .nii.gz."
        )
    return data[np.argsort([one.index for one in frames])]


def _whole(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        for name in _EXPECTED:
            if name not in dataset:
                setattr(dataset, name, None)
        if not dataset.get("SpecificCharacterSet"):
            dataset.pop("SpecificCharacterSet", None)
    return dataset


def _made(
    highdicom: ModuleType,
    path: Path,
    datasets: list[pydicom.Dataset],
    pixels: np.ndarray,
    described: Sequence[Any],
) -> pydicom.Dataset:
    from napari_attnseg import __version__

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return highdicom.seg.Segmentation(
                source_images=datasets,
                pixel_array=pixels,
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=list(described),
                series_instance_uid=highdicom.UID(),
                series_number=int(datasets[0].get("SeriesNumber") or 0) + 1000,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="napari-attnseg",
                manufacturer_model_name="napari-attnseg",
                software_versions=__version__,
                device_serial_number="0",
                series_description="Segmentation",
            )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise VolumeError(
            f"{path.name!r} cannot be written: the series lacks identifiers that a segmentation "
            "must refer to (of the study, the series, its images or the frame of reference). "
            "Save as .nii.gz."
        ) from None
