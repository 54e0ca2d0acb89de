"""Where a case's images and labels come from, as the project file tells it.

A file is told by its path. A volume that is made of other files is told by a recipe, a small file
in the project's folder ``sources``, so that whoever reads a path reads it like any other volume.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from napari_attnseg.io import VolumeError, atomic_write
from napari_attnseg.io.paths import real_path, stored_path
from napari_attnseg.io.recipe import SUFFIX, Recipe, Source, is_recipe, load_recipe

FOLDER = "sources"
_LETTERS = 8


def told(source: Source, name: str, part: str, folder: Path) -> str:
    """Return what the project file says of an image or label.

    Args:
        source: A file, or how it is made.
        name: The case.
        part: A channel, or ``label``.
        folder: The project's.
    """
    if not isinstance(source, Recipe):
        return stored_path(source, folder)
    # With its content in its name, equal recipes are one file and none is ever written over.
    mark = hashlib.sha256(_text(source, folder)).hexdigest()[:_LETTERS]
    words = "".join(one if one.isalnum() or one in "-_." else "-" for one in f"{name}.{part}")
    return f"{FOLDER}/{words}.{mark}{SUFFIX}"


def keep(sources: Iterable[tuple[Source, str]], folder: Path) -> None:
    """Write the recipes among sources to where `told` says they are.

    Raises:
        OSError: If the project's folder cannot be written.
    """
    for source, path in sources:
        if isinstance(source, Recipe):
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            with atomic_write(file) as out:
                out.write(_text(source, folder))


def exist(stored: Iterable[str], folder: Path) -> bool:
    """Return whether any of the files that stored sources need is there."""
    return any(one.exists() for one in origins(real_path(path, folder) for path in stored))


def are_same(given: Iterable[Source], stored: Iterable[str], folder: Path) -> bool:
    """Return whether sources are made of the files that stored ones are, in whatever way."""
    first = [real_path(stored_path(one, folder), folder) for one in origins(given)]
    return first == origins(real_path(one, folder) for one in stored)


def origins(given: Iterable[Source]) -> list[Path]:
    """Return the files that sources need in the end, in order."""
    found: list[Path] = []
    for one in given:
        found += _origins(one)
    return found


def _origins(source: Source) -> list[Path]:
    if not isinstance(source, Recipe):
        path = Path(source)
        try:
            recipe = load_recipe(path) if is_recipe(path) else None
        except (VolumeError, OSError):
            recipe = None
        return [path] if recipe is None else origins(one for one in recipe.sources if one != path)
    return origins(source.sources)


def _text(recipe: Recipe, folder: Path) -> bytes:
    content = recipe.to_json(folder / FOLDER)
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
