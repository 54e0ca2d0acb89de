"""Which values occur in labels, and what they are called where nobody named them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.cohort.ledger import ProjectError
from napari_attnseg.io import VolumeError, read_volume
from napari_attnseg.io.paths import real_path

logger = logging.getLogger(__name__)

MOST_CLASSES = 1000
"""A file with more distinct values holds intensities, not classes."""


def placeholder(value: int) -> str:
    """Return the name of a class that nobody named."""
    return f"class {value}"


def values_of(data: np.ndarray) -> list[int]:
    """Return the values that occur in a label map of whole numbers, ascending, without 0."""
    found: set[int] = set()
    for plane in data.reshape(-1, *data.shape[-2:]):
        if data.dtype.itemsize <= 2 and data.dtype.kind == "u":
            here = np.flatnonzero(np.bincount(plane.reshape(-1)))
        else:
            here = np.unique(plane)
        found.update(here.tolist())
    return sorted(found - {0})


def note_values(content: dict[str, Any], name: str, values: Iterable[int]) -> None:
    """Enter the values of a case's label into a project's content; new ones become classes."""
    content["cases"][name]["values"] = sorted(values)
    classes = content["classes"]
    for value in content["cases"][name]["values"]:
        if value != content["ignore_label"]:
            classes.setdefault(str(value), placeholder(value))
    content["classes"] = dict(sorted(classes.items(), key=lambda one: int(one[0])))


def name_values(content: dict[str, Any], names: Mapping[int, str]) -> None:
    """Give names to values in a project's content.

    Raises:
        ProjectError: If a value is not positive, two get one name, or a name is empty.
    """
    classes = {int(value): name for value, name in content["classes"].items()}
    classes |= {int(value): name.strip() for value, name in names.items()}
    distinct = {name.casefold() for name in classes.values() if name}
    if min(classes, default=1) < 1 or len(distinct) < len(classes):
        found = ", ".join(f"{value} {name!r}" for value, name in classes.items())
        raise ProjectError(
            f"Each class needs a value of 1 or more and a name of its own; found {found}."
        )
    content["classes"] = {str(value): classes[value] for value in sorted(classes)}


def read_missing_values(
    content: Mapping[str, Any], folder: Path, seconds: float
) -> dict[str, list[int]]:
    """Read the labels whose values are needed and unknown; none where classes have names.

    Args:
        content: Of the project file.
        folder: Of the project.
        seconds: After which no further label is read.
    """
    if content["named"]:
        return {}
    until = time.monotonic() + seconds
    found = {}
    for name, entry in content["cases"].items():
        if entry["label"] is None or entry["values"] is not None:
            continue
        found[name] = _values_in(real_path(entry["label"], folder))
        if time.monotonic() > until:
            break
    return found


def _values_in(path: Path) -> list[int]:
    try:
        values = values_of(read_volume(path, labels=True).data)
    except VolumeError as error:
        # Whoever uses the label is told; here it only has no names to give.
        logger.warning("%s", error)
        return []
    if len(values) > MOST_CLASSES:
        logger.warning("%s holds %d values, too many for classes.", path.name, len(values))
        return []
    return values
