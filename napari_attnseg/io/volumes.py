"""Read and write one volume, whatever its format."""

from __future__ import annotations

from pathlib import Path

from napari_attnseg.io.format import VolumeError, format_of
from napari_attnseg.io.labels import as_label_map
from napari_attnseg.volume import Volume


def read_volume(path: str | Path, *, labels: bool | None = None) -> Volume:
    """Read a volume with its place in the patient.

    Args:
        path: The file.
        labels: True for a label map: whole numbers stored as floats become integers, and what
            cannot be one is refused.

    Raises:
        VolumeError: If the file is missing, damaged or holds no volume; the message says which.
    """
    path = Path(path)
    _require_file(path)
    try:
        volume = format_of(path).read(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise VolumeError(f"{path.name!r} could not be read: {reason}.") from error
    except MemoryError as error:
        raise VolumeError(f"{path.name!r} is larger than this machine's free memory.") from error
    return as_label_map(volume, path) if labels else volume


def write_volume(path: str | Path, volume: Volume) -> Path:
    """Write a volume, whole or not at all, over what was there; parent folders are made.

    Returns:
        The path.

    Raises:
        VolumeError: If the name has no known suffix, or its format cannot hold the volume.
        OSError: If the folder cannot be written or the disk is full; what was there stays.
    """
    path = Path(path)
    format_of(path).write(path, volume)
    return path


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise VolumeError(f"{path.name!r} is a folder; give one file of it.")
    if not path.exists():
        raise VolumeError(f"There is no file {str(path)!r}.")
    if path.stat().st_size == 0:
        raise VolumeError(f"{path.name!r} is empty (0 bytes); copy it again from its source.")
