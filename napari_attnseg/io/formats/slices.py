"""Slices as pictures: a folder of PNG, JPEG or TIFF files, or one file of them by its name.

Pictures do not say where in a patient they lie. Voxels of 1 mm are taken, the rows as lines from
front to back and the columns from right to left, as a picture of a slice is usually shown; every
volume of this kind carries a warning that says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_attnseg.io.format import FOLDER_FORMATS, FORMATS, VolumeError
from napari_attnseg.io.pictures import read_pages
from napari_attnseg.volume import Storage, Volume, affine_for_itk

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_PLACE_WARNING = (
    "Pictures do not say how large voxels are or where they lie; 1 mm and LPS are taken."
)
_LOSSY_WARNING = "JPEG changes values; a mask stored so is no longer one."
_GREY_WARNING = "The pictures are grey stored as colours; one channel is taken."
_MOST_NAMED = 5


@FORMATS.register("slices")
class Slices:
    """PNG, JPEG or TIFF slices in the natural order of the numbers in their names."""

    suffixes: tuple[str, ...] = ()
    named_suffixes: tuple[str, ...] = SUFFIXES
    is_marked = False

    def matches(self, folder: Path) -> bool:
        """Return whether a folder holds pictures of one kind."""
        return len({_kind(one) for one in _pictures(folder)}) == 1

    def read_folder(self, folder: Path) -> Volume:
        """Return the slices of a folder as one volume, ``(C, D, H, W)``.

        Raises:
            VolumeError: If the pictures differ in size or type, or one is damaged.
        """
        return read_slices(_pictures(folder))

    def read(self, path: Path) -> Volume:
        """Return one picture as a slice, or the pages of a TIFF as slices.

        Raises:
            VolumeError: If it is damaged.
        """
        return read_slices([path])

    def write(self, path: Path, volume: Volume) -> None:
        """Refuse: pictures lose the place of a volume.

        Raises:
            VolumeError: Always.
        """
        raise VolumeError(
            f"{path.name!r} would be a picture, which cannot say where the volume lies; "
            "write .nii.gz, .nrrd or .mha."
        )


FOLDER_FORMATS.register("slices")(Slices)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them, so that 2 stands before 10."""
    words = re.split(r"(\d+)", name.lower())
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in words]


def read_slices(paths: Sequence[Path]) -> Volume:
    """Return picture files as one volume, ``(C, D, H, W)``, in the order given.

    Raises:
        VolumeError: If they differ in size or type, or one is damaged.
    """
    slices: list[np.ndarray] = []
    warnings = [_PLACE_WARNING, *_gaps(paths)]
    for path in paths:
        pages, remarks = read_pages(path)
        warnings += [one for one in remarks if one not in warnings]
        if len(pages) > 1 and len(paths) > 1:
            raise VolumeError(
                f"{path.name!r} holds {len(pages)} slices and is not alone; open it by its name."
            )
        if slices:
            _require_like(slices[0], pages[0], paths[0], path)
        slices += pages
    if _kind(paths[0]) == ".jpg":
        warnings.append(_LOSSY_WARNING)
    data = np.stack(slices)  # (D, H, W, C)
    if data.shape[-1] == 3 and (data == data[..., :1]).all():
        data = data[..., :1]
        warnings.append(_GREY_WARNING)
    data = np.ascontiguousarray(np.moveaxis(data, -1, 0))
    ndim = 4 if len(data) > 1 else 3 if len(slices) > 1 else 2
    extra = {"format": f"{_kind(paths[0])[1:].upper()} slices", "warnings": tuple(warnings)}
    storage = Storage(ndim=ndim, dtype=data.dtype.name, format="slices", extra=extra)
    return Volume(data, affine_for_itk(np.eye(4)), storage=storage)


def _pictures(folder: Path) -> list[Path]:
    found = [
        one
        for one in folder.iterdir()
        if one.suffix.lower() in SUFFIXES and not one.name.startswith(".") and one.is_file()
    ]
    return sorted(found, key=lambda one: natural_key(one.name))


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return {".jpeg": ".jpg", ".tiff": ".tif"}.get(suffix, suffix)


def _require_like(first: np.ndarray, other: np.ndarray, name: Path, path: Path) -> None:
    if first.shape == other.shape and first.dtype == other.dtype:
        return
    told = [f"{one.shape[1]} x {one.shape[0]} {one.dtype.name}" for one in (first, other)]
    if first.shape[2] != other.shape[2]:
        told = [f"{one.shape[2]} channels" for one in (first, other)]
    raise VolumeError(
        f"{path.name!r} is no slice of the same volume as {name.name!r}: it has {told[1]} where "
        f"that has {told[0]}."
    )


def _gaps(paths: Sequence[Path]) -> list[str]:
    """Return a warning if the numbers in the names leave some out."""
    names = [re.split(r"(\d+)", path.stem) for path in paths]
    if len({len(one) for one in names}) != 1:
        return ["The names of the slices are not alike; check their order."] if paths[1:] else []
    varying = [n for n, words in enumerate(zip(*names, strict=True)) if len(set(words)) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0:
        return ["The names differ in more than one number; check their order."] if varying else []
    found = Counter(int(one[varying[0]]) for one in names)
    span = max(found) - min(found) + 1
    if span == len(found):
        return []
    if span > 2 * len(paths):
        return ["The numbers in the names are not those of consecutive slices."]
    missing = [n for n in range(min(found), max(found)) if n not in found]
    shown = ", ".join(map(str, missing[:_MOST_NAMED])) + (", ..." if missing[_MOST_NAMED:] else "")
    return [f"The numbers in the names leave out {shown}; slices may be missing."]
