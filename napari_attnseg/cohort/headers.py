"""What headers tell about files before any voxel is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napari_attnseg.io import VolumeError, known_suffix, read_volume, series_format_of
from napari_attnseg.io.format import HeaderError
from napari_attnseg.io.recipe import Recipe, Source, is_recipe, load_recipe
from napari_attnseg.volume import Grid


@dataclass(frozen=True)
class Header:
    """Where a file's voxels lie and how many images it holds."""

    grid: Grid
    channels: int


Read = Callable[[Source], Header | None]


def read_header(source: Source) -> Header | None:
    """Return the header of an image or label, or None where it tells nothing or is damaged.

    What is wrong with a damaged file is said when it is opened.
    """
    if isinstance(source, Recipe):
        return _of_recipe(source)
    path, suffix = Path(source), known_suffix(source)
    try:
        if is_recipe(path):
            return _of_recipe(load_recipe(path))
        if suffix in (".nii", ".nii.gz"):
            return _of_nifti(path)
        if suffix in (".mha", ".mhd"):
            return _of_metaimage(path)
        return _of_dicom(path) if suffix is None else None
    except (VolumeError, HeaderError, ValueError, OSError):
        return None


def grid_of(source: Source) -> Grid:
    """Return where voxels lie, from a header where that is known to tell.

    Raises:
        VolumeError: If they cannot be read.
    """
    header = read_header(source)
    if header is not None:
        return header.grid
    if isinstance(source, Recipe):
        from napari_attnseg.io.formats.recipe import made

        return made(source, source.files[0].name).grid
    return read_volume(source).grid


def _of_nifti(path: Path) -> Header:
    from napari_attnseg.io import nifti_header
    from napari_attnseg.io.gzip_stream import open_source

    with open_source(path) as source:
        start = source.read(540)
    header = nifti_header.parse(start if _is_nifti2(start) else start[:348])
    shape = nifti_header.shape_ijk(header)
    i, j, k, count = (*shape, 1, 1)[:4]
    return Header(Grid((k, j, i), nifti_header.place(header, shape).affine), count)


def _of_metaimage(path: Path) -> Header:
    from napari_attnseg.io import metaimage_header

    with path.open("rb") as file:
        header = metaimage_header.read_header(file)
    shape = metaimage_header.sizes(header)
    i, j, k, count = (*shape, 1, 1)[:4]
    affine = metaimage_header.affine(header, shape, [])
    return Header(Grid((k, j, i), affine), count * metaimage_header.channels(header))


def _of_dicom(path: Path) -> Header | None:
    from napari_attnseg.io.dicom.image import stacked
    from napari_attnseg.io.dicom.series import choose, find_series
    from napari_attnseg.io.formats.dicom import DicomSeries

    if not isinstance(series_format_of(path), DicomSeries):
        return None
    series = choose(find_series(path), None, path)
    if series.is_segmentation:
        return None
    made, _ = stacked(series, path.name)
    rows, columns = made.channels[0][0].size
    return Header(Grid((len(made.channels[0]), rows, columns), made.affine), len(made.channels))


def _of_recipe(recipe: Recipe) -> Header | None:
    if recipe.drawn_on is not None:
        place = read_header(recipe.drawn_on) if recipe.series is None else None
    elif len(recipe.files) == 1 and recipe.series is None:
        place = read_header(recipe.files[0])
    else:
        place = None
    if place is None or recipe.classes or recipe.regions or recipe.drawn_on is not None:
        place = Header(place.grid, 1) if place else None
    if recipe.grid is not None:
        return Header(recipe.grid, place.channels if place else 1)
    return place


def _is_nifti2(start: bytes) -> bool:
    return start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")
