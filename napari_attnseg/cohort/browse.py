"""What lies in a folder, without what systems and people leave in it beside the data."""

from __future__ import annotations

from pathlib import Path

from napari_attnseg.cohort.case import natural

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, in natural order."""
    return [one for one in _visible(folder) if one.is_dir()]


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder that are not hidden, in natural order."""
    return [one for one in _visible(folder) if one.is_file()]


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder, in natural order."""
    return [one for one in files_in(folder) if one.suffix.lower() in PICTURES]


def folder_named(folder: Path, *names: str) -> Path | None:
    """Return the folder of one of these names, whatever its capitals, the first name first."""
    there = {one.name.casefold(): one for one in folders_in(folder)}
    return next((there[name.casefold()] for name in names if name.casefold() in there), None)


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # __MACOSX is what unpacking on other systems leaves of a Mac's hidden files.
    found = (one for one in folder.iterdir() if not one.name.startswith((".", "__MACOSX")))
    return sorted(found, key=lambda one: natural(one.name))
