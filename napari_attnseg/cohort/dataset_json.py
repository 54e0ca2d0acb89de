"""What a ``dataset.json`` says, in the Decathlon's form and in nnU-Net's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_attnseg.io.json_words import why_not_json
from napari_attnseg.io.regions import Regions, RegionsError

FILE = "dataset.json"
BACKGROUND = 0
IGNORE = "ignore"


class DatasetJsonError(ValueError):
    """A ``dataset.json`` that cannot be used; the message says what is wrong with it."""


def read(folder: Path) -> dict[str, Any] | None:
    """Return the file's content, or None if there is none.

    Raises:
        DatasetJsonError: If it cannot be read or is no JSON object.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DatasetJsonError(f"{FILE} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetJsonError(f"{FILE} is damaged: {why_not_json(error)}") from error
    if not isinstance(content, dict):
        raise DatasetJsonError(f"{FILE} holds no object of names and values")
    return content


def classes(content: Mapping[str, Any]) -> tuple[dict[int, str], int | None]:
    """Return the name by label value, without the background, and the value to ignore.

    Both forms are understood: ``{"1": "Anterior"}`` and ``{"Anterior": 1}``; nnU-Net's regions
    ``{"tumour": [1, 2], "core": [2]}`` name each value by the smallest region that holds it.

    Raises:
        DatasetJsonError: If there is no such table.
    """
    table = content.get("labels", {})
    if not isinstance(table, Mapping):
        raise DatasetJsonError(f"the labels in {FILE} are not a table of names and values")
    members: list[tuple[str, list[int]]] = []
    for key, value in table.items():
        name, values = (value, key) if isinstance(value, str) else (key, value)
        members.append((str(name), _whole_numbers(values)))
    ignored = [values[0] for name, values in members if name.casefold() == IGNORE and values]
    named: dict[int, str] = {}
    for name, values in sorted(members, key=lambda one: -len(one[1])):
        named.update(dict.fromkeys(values, name))
    for value in (BACKGROUND, *ignored):
        named.pop(value, None)
    return _unique(named), ignored[0] if ignored else None


def regions(content: Mapping[str, Any]) -> Regions:
    """Return nnU-Net's regions: labels that are lists of values; nothing where none is.

    With ``regions_class_order`` every label is a region, those of one value included.

    Raises:
        DatasetJsonError: If a value is no number, or not positive.
    """
    table = content.get("labels", {})
    if not isinstance(table, Mapping):
        return Regions({})
    are_lists = [isinstance(values, (list, tuple)) for values in table.values()]
    if not any(are_lists) and not content.get("regions_class_order"):
        return Regions({})
    members = {
        str(name): frozenset(_whole_numbers(values))
        for name, values in table.items()
        if not isinstance(values, str)
        and str(name).casefold() != IGNORE
        and _whole_numbers(values) != [BACKGROUND]
    }
    try:
        return Regions(members)
    except RegionsError as error:
        raise DatasetJsonError(f"the labels in {FILE} make no regions: {error}") from error


def channels(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the channels in their order; empty if the file does not say.

    Raises:
        DatasetJsonError: If the table's keys are not numbers.
    """
    table = content.get("channel_names", content.get("modality", {}))
    if isinstance(table, str):
        return (table,)
    if isinstance(table, (list, tuple)):
        table = dict(enumerate(table))
    if not isinstance(table, Mapping):
        raise DatasetJsonError(f"the channel names in {FILE} are not a table")
    try:
        names = [str(table[key]) for key in sorted(table, key=int)]
    except ValueError as error:
        raise DatasetJsonError(f"the channels in {FILE} are not numbered") from error
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else f"{name} {n}" for n, name in enumerate(names, start=1)
    )


def name(content: Mapping[str, Any], folder: Path) -> str:
    """Return the data set's name, or that of its folder."""
    given = content.get("name")
    return given if isinstance(given, str) and given.strip() else folder.resolve().name


def _whole_numbers(values: Any) -> list[int]:
    values = values if isinstance(values, (list, tuple)) else [values]
    try:
        return [int(value) for value in values]
    except (TypeError, ValueError) as error:
        raise DatasetJsonError(f"the labels in {FILE} hold {values!r}, not a number") from error


def _unique(named: Mapping[int, str]) -> dict[int, str]:
    count = Counter(named.values())
    return {
        value: name if count[name] == 1 else f"{name} ({value})"
        for value, name in sorted(named.items())
    }
