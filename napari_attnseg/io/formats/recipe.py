"""Volumes that a recipe makes of other files (``.volume.json``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from napari_attnseg.io.format import (
    SERIES_FORMATS,
    Choice,
    Remedy,
    VolumeError,
)
from napari_attnseg.io.onto_grid import resampled, stored_like
from napari_attnseg.io.recipe import Recipe, classes_of_greys, is_recipe, load_recipe
from napari_attnseg.io.regions import classes_of_channels, exclusive_classes
from napari_attnseg.volume import Storage, Volume

_open: ContextVar[tuple[Path, ...]] = ContextVar("recipes being read", default=())


@SERIES_FORMATS.register("recipe")
class Recipes:
    """A volume made of other files, which stay where they are."""

    def recognises(self, path: Path) -> bool:
        """Return whether a file is a recipe, by its name."""
        return is_recipe(path) and path.is_file()

    def read(self, path: Path, series: Choice = None, remedy: Remedy | None = None) -> Volume:
        """Return the volume that a recipe makes.

        Raises:
            VolumeError: If the recipe or a file that it names is damaged, missing or unfit.
        """
        with _remembered(path):
            return made(load_recipe(path), path.name, remedy)

    def volumes_in(self, folder: Path) -> list[tuple[Path, Callable[[], Volume]]]:
        """Return nothing: recipes belong to their project, and their files are found anyway."""
        return []

    def referring(self, volume: Volume, source: Path, series: Choice = None) -> Volume:
        """Refuse: what is made of other files is no DICOM series.

        Raises:
            VolumeError: Always.
        """
        raise VolumeError(f"{source.name!r} is no DICOM series.")


def made(recipe: Recipe, name: str, remedy: Remedy | None = None) -> Volume:
    """Return the volume that a recipe makes.

    Args:
        recipe: Of which files, and how.
        name: What a refusal calls it.
        remedy: See `read_volume`.

    Raises:
        VolumeError: If a file is damaged, missing or unfit.
    """
    volume = _drawn(recipe) if recipe.slices else _read(recipe, remedy)
    warnings = volume.storage.extra.get("warnings", ()) if volume.storage else ()
    storage = Storage(
        format="recipe", extra={"format": "recipe", "warnings": warnings, **_files(volume)}
    )
    if recipe.classes:
        data = classes_of_greys(volume.data, recipe.classes, recipe.files[0].name)
        volume = volume.replace(data=data, channels=())
    if recipe.regions:
        values = exclusive_classes(volume.data, recipe.regions, recipe.files[0].name)
        classes = classes_of_channels(recipe.regions)
        volume = volume.replace(data=values[None], classes=classes, channels=())
    if recipe.grid is not None:
        volume = _put(volume, recipe, name)
    ndim = 4 if volume.data.shape[0] > 1 else 3
    return volume.replace(
        storage=dataclasses.replace(storage, ndim=ndim, dtype=str(volume.data.dtype))
    )


def _put(volume: Volume, recipe: Recipe, name: str) -> Volume:
    assert recipe.grid is not None
    if recipe.fit == "resampled":
        return resampled(volume, recipe.grid)
    try:
        return stored_like(volume, recipe.grid)
    except ValueError as error:
        raise VolumeError(
            f"{recipe.files[0].name!r} no longer lies on the grid that {name!r} tells of: {error} "
            "Add its case to the project again."
        ) from error


def _read(recipe: Recipe, remedy: Remedy | None) -> Volume:
    from napari_attnseg.io.formats.slices import read_slices
    from napari_attnseg.io.volumes import read_volume

    first = recipe.files[0]
    if recipe.drawn_on is not None:
        return _segmentation(first, recipe.drawn_on, recipe.series)
    if len(recipe.files) == 1:
        return read_volume(first, series=recipe.series, remedy=remedy)
    _require_files(recipe.files)
    return read_slices(recipe.files)


def _segmentation(path: Path, source: Path, choice: Choice) -> Volume:
    from napari_attnseg.io.dicom.segmentation import read_segmentation
    from napari_attnseg.io.dicom.series import choose, find_series

    _require_files([path, source])
    return read_segmentation(path, choose(find_series(source), choice, source))


def _drawn(recipe: Recipe) -> Volume:
    """Return pictures that are drawn on DICOM slices, in the order of the slices' positions."""
    from napari_attnseg.io.dicom.image import image_grid
    from napari_attnseg.io.dicom.series import choose, find_series
    from napari_attnseg.io.formats.slices import read_slices

    source = recipe.drawn_on
    if source is None:
        raise VolumeError(f"Of what series {recipe.files[0].name!r} is a mask is not told.")
    _require_files([source, *recipe.files])
    grid, frames = image_grid(choose(find_series(source), recipe.series, source), source.name)
    picture_of = dict(zip(recipe.slices, recipe.files, strict=True))
    missing = [one.path.name for one in frames if one.path.name not in picture_of]
    if missing or len(picture_of) != len(frames):
        raise VolumeError(
            f"{len(frames)} slices in {source.name!r} have {len(picture_of)} masks; "
            f"{missing[0] if missing else 'one more'} has none of its own. Each slice needs one."
        )
    volume = read_slices([picture_of[one.path.name] for one in frames])
    if volume.shape_dhw != grid.shape_dhw:
        raise VolumeError(
            f"The masks of {source.name!r} have {volume.shape_dhw[1]} x {volume.shape_dhw[2]} "
            f"pixels, its slices {grid.shape_dhw[1]} x {grid.shape_dhw[2]}."
        )
    extra = {"files": tuple(str(one.path) for one in frames), "warnings": ()}
    return Volume(volume.data, grid.affine, storage=Storage(extra=extra))


def _files(volume: Volume) -> dict[str, tuple[str, ...]]:
    """Return the DICOM files that a volume lies on, so that a mask can refer to them."""
    found = volume.storage.extra.get("files") if volume.storage else None
    return {"files": found} if found else {}


def _require_files(paths: list[Path] | tuple[Path, ...]) -> None:
    missing = [one for one in paths if not one.exists()]
    if missing:
        more = f" and {len(missing) - 1} more files are" if missing[1:] else " is"
        raise VolumeError(f"{str(missing[0])!r}{more} no longer there; bring the data back.")


@contextmanager
def _remembered(path: Path) -> Iterator[None]:
    """Refuse a recipe that needs itself."""
    path = path.resolve()
    if path in _open.get():
        raise VolumeError(f"{path.name!r} is made of itself.")
    token = _open.set((*_open.get(), path))
    try:
        yield
    finally:
        _open.reset(token)
