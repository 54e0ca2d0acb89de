"""How a volume is made from files that hold it in another form: a small JSON file, read in place.

Slices in pictures, grey values that stand for classes, masks drawn on DICOM slices, overlapping
channels, an image resampled onto another grid: what is needed is written down, in words that a
person can read, and the files themselves stay where and as they are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_attnseg.io.format import Choice, VolumeError
from napari_attnseg.io.json_words import why_not_json
from napari_attnseg.io.paths import real_path, stored_path
from napari_attnseg.volume import Grid

SUFFIX = ".volume.json"
KIND = "volume made of other files"

LARGEST_CLASS = 255

Fit = Literal["resampled", "reordered"]


@dataclass(frozen=True)
class GreyRange:
    """Grey values from ``low`` to ``high``, both included, that stand for one class."""

    low: float
    high: float
    value: int


@dataclass(frozen=True, eq=False)
class Recipe:
    """A volume that is made of other files.

    Args:
        files: One volume, or pictures that are its slices in their order.
        classes: Which grey values are which class; all others are the background.
        series: Of a folder of several DICOM series, which.
        drawn_on: The DICOM series that gives the files their place: pictures are masks of its
            slices, and a segmentation refers to it.
        slices: For each picture, the name of the DICOM file that it is a mask of.
        regions: Names of channels that overlap, to become exclusive classes.
        grid: On which the volume is put, or None for its own.
        fit: How it is put there: an image is resampled linearly, a label only reordered.
    """

    files: tuple[Path, ...]
    classes: tuple[GreyRange, ...] = ()
    series: Choice = None
    drawn_on: Path | None = None
    slices: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    grid: Grid | None = None
    fit: Fit = "resampled"

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file or folder that it needs."""
        return (*self.files, *([self.drawn_on] if self.drawn_on else []))

    def on(self, grid: Grid, fit: Fit) -> Recipe:
        """Return the recipe with another grid."""
        return dataclasses.replace(self, grid=grid, fit=fit)

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Return JSON-ready values for a file in a folder, to which paths are relative."""
        content: dict[str, Any] = {
            "kind": KIND,
            "files": [stored_path(one, folder) for one in self.files],
        }
        if self.classes:
            content["classes"] = [vars(one) for one in self.classes]
        if self.series is not None:
            content["series"] = self.series
        if self.drawn_on is not None:
            content["drawn_on"] = stored_path(self.drawn_on, folder)
        if self.slices:
            content["slices"] = list(self.slices)
        if self.regions:
            content["regions"] = list(self.regions)
        if self.grid is not None:
            shape, affine = list(self.grid.shape_dhw), self.grid.affine.tolist()
            content["grid"] = {"shape_dhw": shape, "affine_ras": affine, "fit": self.fit}
        return content

    @classmethod
    def from_json(cls, content: Any, folder: Path) -> Recipe:
        """Return what `to_json` wrote.

        Raises:
            ValueError: If it is something else; the message says what is missing or wrong.
        """
        if not isinstance(content, Mapping) or content.get("kind") != KIND:
            raise ValueError(f"it is not said to be a {KIND}")
        files = _texts(content, "files")
        if not files:
            raise ValueError("it names no files")
        drawn_on, grid, series = (content.get(key) for key in ("drawn_on", "grid", "series"))
        place, fit = _no_grid() if grid is None else _grid(grid)
        slices = _texts(content, "slices")
        if slices and len(slices) != len(files):
            raise ValueError(f"it names {len(files)} files and {len(slices)} slices")
        return cls(
            files=tuple(real_path(one, folder) for one in files),
            classes=tuple(_grey_range(one) for one in content.get("classes", ())),
            series=series if isinstance(series, (int, str)) else None,
            drawn_on=real_path(drawn_on, folder) if isinstance(drawn_on, str) else None,
            slices=slices,
            regions=_texts(content, "regions"),
            grid=place,
            fit=fit,
        )


Source = str | Path | Recipe
"""What an image or a label is read from."""


def is_recipe(path: str | Path) -> bool:
    """Return whether a path is that of a recipe, by its name."""
    return Path(path).name.lower().endswith(SUFFIX)


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in a file.

    Raises:
        VolumeError: If it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, why_not_json(error)) from error
    try:
        return Recipe.from_json(content, path.parent)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> VolumeError:
    return VolumeError(
        f"{path.name!r} does not say how its volume is made: {reason}. Add its cases to the "
        "project again."
    )


def classes_of_greys(greys: np.ndarray, ranges: Sequence[GreyRange], name: str) -> np.ndarray:
    """Return the class of each grey value, uint8 of the same shape; 0 is the background.

    Args:
        greys: ``(1, D, H, W)``.
        ranges: Of grey values.
        name: What a refusal calls them.

    Raises:
        VolumeError: If there are colours, or greys between the ranges.
    """
    if len(greys) > 1:
        raise VolumeError(f"The mask {name!r} is in colours; save it as grey values.")
    result = np.zeros(greys.shape, dtype=np.uint8)
    is_known = greys == 0
    for one in ranges:
        is_inside = (greys >= one.low) & (greys <= one.high)
        result[is_inside] = one.value
        is_known |= is_inside
    count = int((~is_known).sum())
    if count:
        found = greys[~is_known].flat[0]
        raise VolumeError(
            f"{count} pixels of the mask {name!r} and its like have grey values such as {found}, "
            "which stand for no class. It may have been resized or saved as JPEG; save it anew."
        )
    return result


def _texts(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = content.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise ValueError(f"its {key!r} are not a list of names")
    return tuple(found)


def _grey_range(content: Any) -> GreyRange:
    fields = ("low", "high", "value")
    if not isinstance(content, Mapping) or not all(
        isinstance(content.get(one), (int, float)) for one in fields
    ):
        raise ValueError("its 'classes' are not ranges of grey values")
    if not 0 <= content["value"] <= LARGEST_CLASS:
        raise ValueError(f"it names the class {content['value']}; the largest is {LARGEST_CLASS}")
    return GreyRange(content["low"], content["high"], int(content["value"]))


def _no_grid() -> tuple[None, Fit]:
    return None, "resampled"


def _grid(content: Any) -> tuple[Grid, Fit]:
    if not isinstance(content, Mapping) or content.get("fit") not in ("resampled", "reordered"):
        raise ValueError("its 'grid' does not say how the volume is put there")
    affine = np.array(content["affine_ras"], dtype=np.float64)
    return Grid(tuple(content["shape_dhw"]), affine), content["fit"]
