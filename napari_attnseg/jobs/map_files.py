"""Maps that were written with a record beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_attnseg.jobs.inputs import JobError


def map_record(map_file: Path) -> dict[str, Any]:
    """Return the record that was written beside a map.

    Raises:
        JobError: If the map or its record is not there, or is damaged.
    """
    found = any_record(map_file)
    if not {"method", "layer", "class"} <= found.keys():
        raise JobError(f"{map_file} is no map of a class; make one of a method, then try again.")
    return found


def any_record(map_file: Path) -> dict[str, Any]:
    """Return the record beside a map of any kind.

    Raises:
        JobError: If the map or its record is not there, or is damaged.
    """
    record = map_file.with_name(f"{bare_name(map_file)}.json")
    for file in (map_file, record):
        if not file.is_file():
            raise JobError(f"{file} is missing; make the map again.")
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise JobError(f"{record} is damaged; make the map again.") from error
    if not isinstance(found, dict):
        raise JobError(f"{record} is not the record of a map; make the map again.")
    return found


def bare_name(map_file: Path) -> str:
    """Return a map's file name without what tells its format."""
    return map_file.name.removesuffix(".gz").removesuffix(".nii")
