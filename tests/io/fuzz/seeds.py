"""Small undamaged volumes of every format, each in a folder of its own."""

from __future__ import annotations

import importlib.util
import io
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from napari_attnseg import Volume, read_volume, write_volume
from napari_attnseg.volume import Storage

SHAPE = (1, 5, 7, 9)
SPACING = (2.9, 1.3, 0.7)
PLAIN = (".nii", ".nii.gz", ".nrrd", ".mha", ".gipl", ".gipl.gz", ".hdr", ".nhdr", ".mhd")
ENCODED = {
    "nrrd": ("raw", "bzip2"),
    "metaimage": ("raw", "gzip"),
}
SUFFIX = {"nrrd": ".nrrd", "metaimage": ".mha"}
EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "jpeg2000": JPEG2000Lossless,
    "jpeg": JPEGBaseline8Bit,
    "rle": RLELossless,
}


def make(folder: Path) -> dict[str, Path]:
    """Write every seed; return what opens it, by name. All else in its folder belongs to it."""
    found = {**_volumes(folder), **_other_nifti(folder), **_pictures(folder)}
    for name, syntax in SYNTAXES.items():
        found[f"dicom-{name}"] = _series(folder / f"dicom-{name}", syntax)
    found["dicom-enhanced"] = _enhanced(folder / "dicom-enhanced")
    if importlib.util.find_spec("highdicom") is not None:
        found["dicom-seg"] = _segmentation(folder / "dicom-seg")
    if importlib.util.find_spec("zarr") is not None:
        for suffix in (".ome.zarr", ".zarr"):
            path = folder / f"zarr{suffix}" / f"case{suffix}"
            found[f"zarr{suffix}"] = write_volume(path, _volume())
    return found


def _volume(dtype: str = "int16", **changes: object) -> Volume:
    random = np.random.default_rng(3)
    data = random.integers(0, 120, size=SHAPE, dtype=dtype)
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    affine[:3, 3] = (31.0, 12.0, -40.0)
    return Volume(data, affine, **changes)  # type: ignore[arg-type]


def _volumes(folder: Path) -> dict[str, Path]:
    found = {}
    for suffix in PLAIN:
        name = suffix[1:]
        found[name] = write_volume(folder / name / f"case{suffix}", _volume())
    for kind, encodings in ENCODED.items():
        for encoding in encodings:
            name = f"{kind}-{encoding}"
            storage = Storage(format=kind, extra={"encoding": encoding, "placing": {}})
            path = folder / name / f"case{SUFFIX[kind]}"
            found[name] = write_volume(path, _volume(storage=storage))
    names = {1: "liver", 7: "left kidney"}
    segments = _volume("uint8", classes=names)
    segments = segments.replace(data=segments.data % 8)
    found["seg.nrrd"] = write_volume(folder / "seg.nrrd" / "case.seg.nrrd", segments)
    found["labels"] = write_volume(folder / "labels" / "case.nii", segments)
    found["text"] = folder / "text" / "case.nrrd"
    found["text"].parent.mkdir()
    text = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\nencoding: ascii\nspace: LPS\n"
        "space directions: (1,0,0) (0,1,0) (0,0,2)\nspace origin: (0,0,0)\n\n"
    )
    found["text"].write_text(text + " ".join(map(str, range(24))))
    return found


def _other_nifti(folder: Path) -> dict[str, Path]:
    data, affine = _volume().data[0].T, _volume().affine
    found = {}
    second = nib.Nifti2Image(data.astype(">f4"), affine)
    scaled = nib.Nifti1Image(data, affine)
    scaled.header.set_slope_inter(0.5, -3)
    several = nib.Nifti1Image(np.stack([data, data + 1], axis=3), affine)
    for name, image in (("nifti2", second), ("scaled", scaled), ("channels", several)):
        found[name] = folder / name / "case.nii"
        found[name].parent.mkdir()
        nib.save(image, found[name])
    return found


def _pictures(folder: Path) -> dict[str, Path]:
    planes = _volume("uint8").data[0]
    found = {}
    for suffix in (".png", ".jpg", ".tif"):
        name = f"slices{suffix}"
        found[name] = folder / name
        found[name].mkdir()
        for k, plane in enumerate(planes[:2]):
            Image.fromarray(plane).save(found[name] / f"slice{k}{suffix}")
    found["pages"] = folder / "pages" / "case.tif"
    found["pages"].parent.mkdir()
    first, *rest = (Image.fromarray(plane) for plane in planes)
    first.save(found["pages"], save_all=True, append_images=rest, compression="tiff_adobe_deflate")
    return found


def _blank(kind: str, syntax: str, number: int) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.9.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.5"
    dataset.FrameOfReferenceUID = "1.2.3.6"
    dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber = "CT", "a scan", 4
    for name in EMPTY:
        setattr(dataset, name, "")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    return dataset


def _set_pixels(dataset: pydicom.Dataset, values: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = values.shape[-2:]
    bits = values.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = values.tobytes() + bytes(values.nbytes % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"


def _series(folder: Path, syntax: str) -> Path:
    folder.mkdir()
    dtype = "uint8" if syntax in (JPEGBaseline8Bit, JPEG2000Lossless) else "uint16"
    for k, plane in enumerate(_volume(dtype).data[0][:3]):
        dataset = _blank(CTImageStorage, syntax, k)
        dataset.ImagePositionPatient = [0, 0, SPACING[0] * k]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = list(SPACING[1:]), SPACING[0]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        big = syntax == ExplicitVRBigEndian
        _set_pixels(dataset, plane.astype(plane.dtype.newbyteorder(">")) if big else plane)
        _compress(dataset, plane, syntax)
        dataset.save_as(folder / f"IM{k}", enforce_file_format=True)
    return folder


def _compress(dataset: pydicom.Dataset, plane: np.ndarray, syntax: str) -> None:
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, generate_instance_uid=False)
        return
    kinds = {JPEG2000Lossless: "JPEG2000", JPEGBaseline8Bit: "JPEG"}
    if syntax in kinds:
        file = io.BytesIO()
        options = {"no_jp2": True} if syntax == JPEG2000Lossless else {}
        Image.fromarray(plane).save(file, kinds[syntax], **options)
        dataset.PixelData = encapsulate([file.getvalue()])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True


def _item(**tags: object) -> pydicom.Dataset:
    item = pydicom.Dataset()
    for key, value in tags.items():
        setattr(item, key, value)
    return item


def _enhanced(folder: Path) -> Path:
    folder.mkdir()
    values = _volume("uint16").data[0]
    dataset = _blank(EnhancedMRImageStorage, ExplicitVRLittleEndian, 0)
    _set_pixels(dataset, values)
    dataset.NumberOfFrames = len(values)
    measures = _item(PixelSpacing=list(SPACING[1:]), SliceThickness=SPACING[0])
    shared = _item(
        PixelMeasuresSequence=[measures],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=[0, 0, SPACING[0] * k])])
        for k in range(len(values))
    ]
    dataset.save_as(folder / "one.dcm", enforce_file_format=True)
    return folder / "one.dcm"


def _segmentation(folder: Path) -> Path:
    scan = _series(folder.parent / "scan", ExplicitVRLittleEndian)
    labels = (np.indices((3, 7, 9)).sum(axis=0) % 3).astype(np.uint8)
    mask = read_volume(scan).on_grid(labels, classes={1: "liver", 2: "tumour"})
    path = write_volume(folder / "mask.dcm", mask)
    shutil.rmtree(scan)
    return path
