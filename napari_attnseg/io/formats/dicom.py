"""DICOM: a series of slices or frames, or a segmentation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_attnseg.io.dicom.preamble import is_dicom
from napari_attnseg.io.format import FORMATS, SERIES_FORMATS, Choice, Remedy, VolumeError
from napari_attnseg.volume import Storage, Volume

if TYPE_CHECKING:
    from napari_attnseg.io.dicom.series import Series


@SERIES_FORMATS.register("dicom")
class DicomSeries:
    """A DICOM series: its folder, a DICOMDIR or one of its files; and DICOM SEG."""

    def recognises(self, path: Path) -> bool:
        """Return whether a file is DICOM by its content, or a folder holds such files."""
        if not path.is_dir():
            return is_dicom(path)
        files = (one for one in path.rglob("*") if not one.name.startswith("."))
        return any(one.is_file() and is_dicom(one) for one in files)

    def read(self, path: Path, series: Choice = None, remedy: Remedy | None = None) -> Volume:
        """Return the series at a path, or the chosen one of several.

        A folder stands for the series in it and below, a DICOMDIR for those that it names, and
        any other file for its own series in its folder. Segmentations in a folder are read where
        they are chosen, or where there is no image.

        Raises:
            SeriesChoiceError: If there are several and none was chosen; it lists them.
            IrregularSeriesError: If the slices make no regular grid and a remedy is on offer.
            VolumeError: If they make no regular grid, or a file is damaged.
        """
        from napari_attnseg.io.dicom.series import choose, find_series

        return _volume_of(choose(find_series(path), series, path), path, remedy)

    def volumes_in(self, folder: Path) -> list[tuple[Path, Callable[[], Volume]]]:
        """Return where each series in a folder and below lies, with a function that reads it.

        A series is named by the folder that it has for itself, and else by one of its files.

        Raises:
            VolumeError: If a file is damaged.
        """
        from napari_attnseg.io.dicom.series import find_series, places

        found = find_series(folder)
        named = zip(places(found, folder), found, strict=True)
        return [(place, partial(_volume_of, one, place)) for place, one in named]

    def referring(self, volume: Volume, source: Path, series: Choice = None) -> Volume:
        """Return a volume whose storage names the files of the series it belongs to.

        Raises:
            SeriesChoiceError: If there are several and none was chosen; it lists them.
        """
        from napari_attnseg.io.dicom.series import choose, find_series

        found = choose(find_series(source), series, source)
        files = tuple(str(one.path) for one in found.headers)
        return volume.replace(storage=Storage(format="dicom", extra={"files": files}))


def _volume_of(series: Series, path: Path, remedy: Remedy | None = None) -> Volume:
    from napari_attnseg.io.dicom.image import read_image
    from napari_attnseg.io.dicom.segmentation import read_segmentation

    if series.is_segmentation:
        return read_segmentation(series.first.path)
    return read_image(series, path.name, remedy)


@FORMATS.register("dicom")
class Dicom:
    """Files named as DICOM. A slice is no volume, so folders are not searched for such names."""

    suffixes: tuple[str, ...] = ()
    named_suffixes: tuple[str, ...] = (".dcm", ".dicom", ".ima")

    def read(self, path: Path) -> Volume:
        """Return the series that a file belongs to.

        Raises:
            VolumeError: If the file is not DICOM, or the slices make no regular grid.
        """
        if not is_dicom(path):
            raise VolumeError(f"{path.name!r} is not a DICOM file: it does not begin as one.")
        return DicomSeries().read(path)

    def write(self, path: Path, volume: Volume) -> None:
        """Write a label map as a DICOM segmentation of the series it came from.

        Raises:
            VolumeError: If the volume is no label map, or its series is not known.
            OSError: If the file cannot be written; what was there stays.
        """
        from napari_attnseg.io.dicom.segmentation_writer import write_segmentation

        write_segmentation(path, volume)
