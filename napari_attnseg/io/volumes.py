"""Read and write one volume, whatever its format."""

from __future__ import annotations

from pathlib import Path

from napari_attnseg.io.format import (
    Choice,
    Remedy,
    VolumeError,
    folder_format_of,
    format_of,
    marked_folder_format_of,
    series_format_of,
)
from napari_attnseg.io.labels import as_label_map
from napari_attnseg.volume import Volume


def read_volume(
    path: str | Path,
    *,
    labels: bool | None = None,
    series: Choice = None,
    remedy: Remedy | None = None,
) -> Volume:
    """Read a volume with its place in the patient.

    Args:
        path: The file, or a folder that is one volume, such as one file a slice or a DICOM
            series; of such a series any file will do.
        labels: True for a label map: whole numbers stored as floats become integers, and what
            cannot be one is refused.
        series: Which DICOM series, if there are several at the path: its number in the message
            that lists them, or its description.
        remedy: What to do about slices that make no regular grid, where the refusal offers it:
            ``"resample"`` tilted slices to upright ones, or keep only the ``"longest-run"``.

    Raises:
        VolumeError: If it is missing, damaged or holds no volume; the message says which.
    """
    path = Path(path)
    try:
        volume = _read(path, series, remedy)
    except OSError as error:
        reason = error.strerror or str(error)
        raise VolumeError(f"{path.name!r} could not be read: {reason}.") from error
    except MemoryError as error:
        raise VolumeError(f"{path.name!r} is larger than this machine's free memory.") from error
    return as_label_map(volume, path) if labels else volume


def write_volume(
    path: str | Path,
    volume: Volume,
    *,
    source: str | Path | None = None,
    series: Choice = None,
) -> Path:
    """Write a volume, whole or not at all, over what was there; parent folders are made.

    Args:
        path: The file; its suffix is its format, where ``.dcm`` is a DICOM segmentation.
        volume: What to write.
        source: The DICOM series that a segmentation refers to, where the volume was not read
            from it.
        series: Which series at ``source``, if there are several.

    Returns:
        The path.

    Raises:
        VolumeError: If the name has no known suffix, or its format cannot hold the volume.
        OSError: If the folder cannot be written or the disk is full; what was there stays.
    """
    path = Path(path)
    if source is not None:
        volume = _referring(volume, Path(source), series)
    format_of(path).write(path, volume)
    return path


def _referring(volume: Volume, source: Path, series: Choice) -> Volume:
    found = series_format_of(source) if source.exists() else None
    if found is None:
        raise VolumeError(f"There is no DICOM series at {str(source)!r}.")
    return found.referring(volume, source, series)


def _read(path: Path, series: Choice, remedy: Remedy | None) -> Volume:
    if not path.exists():
        raise VolumeError(f"There is no file {str(path)!r}.")
    if not path.is_dir():
        _require_file(path)
    elif (marked := marked_folder_format_of(path)) is not None:
        return marked.read_folder(path)
    one_of_several = series_format_of(path)
    if one_of_several is not None:
        return one_of_several.read(path, series, remedy)
    if series is not None:
        raise VolumeError(f"{path.name!r} is one volume; there is no series {series!r} in it.")
    return _read_folder(path) if path.is_dir() else format_of(path).read(path)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise VolumeError(f"{path.name!r} is no file that holds data.")
    if path.stat().st_size == 0:
        raise VolumeError(f"{path.name!r} is empty (0 bytes); copy it again from its source.")


def _read_folder(folder: Path) -> Volume:
    found = folder_format_of(folder)
    if found is None:
        raise VolumeError(
            f"{folder.name!r} is a folder, and not of one volume's slices; give one file of it."
        )
    return found.read_folder(folder)
