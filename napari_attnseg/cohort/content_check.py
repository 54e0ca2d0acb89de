"""Whether the content of a project file is complete, before anything relies on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari_attnseg.cohort.split import TEST, TRAIN, VALIDATION
from napari_attnseg.io.regions import Regions, RegionsError

STATUSES = ("unlabelled", "draft", "corrected", "approved")

Check = Callable[[Any], bool]


def fault_of(content: Any) -> str | None:
    """Return what is wrong with a project file's content and where, or None if nothing is.

    What is there beyond the known fields does no harm.
    """
    if not isinstance(content, Mapping):
        return "it holds no table of names and values"
    optional = {name: check for name, check in _OPTIONAL_FIELDS.items() if name in content}
    fault = _fault_in(content, {**_FIELDS, **optional})
    if fault is not None:
        return fault
    for name, entry in content["cases"].items():
        if not isinstance(entry, Mapping):
            return f"its case {name!r} is no table of names and values"
        fault = _fault_in(entry, _ENTRY_FIELDS)
        if fault is None and set(entry["images"]) != set(content["channels"]):
            fault = "its images are not those of the project"
        if fault is not None:
            return f"in its case {name!r}, {fault}"
    return None


def _fault_in(table: Mapping[str, Any], fields: Mapping[str, Check]) -> str | None:
    for name, is_right in fields.items():
        if name not in table:
            return f"{name!r} is missing"
        if not is_right(table[name]):
            shown = repr(table[name])
            return f"{name!r} is {shown if len(shown) <= 40 else shown[:40] + '...'}"
    return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_maybe_text(value: Any) -> bool:
    return value is None or _is_text(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_classes(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        key.isdecimal() and int(key) > 0 and _is_text(name) for key, name in value.items()
    )


def _are_files(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(map(_is_text, value.values()))


def _are_values(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_whole, value)))


def _are_regions(value: Any) -> bool:
    try:
        Regions.from_json(value)
    except RegionsError:
        return False
    return isinstance(value, Mapping)


_FIELDS: dict[str, Check] = {
    "format": _is_whole,
    "name": lambda value: isinstance(value, str),
    "seed": _is_whole,
    "test_fraction": lambda value: isinstance(value, (int, float)) and 0 <= value <= 1,
    "classes": _are_classes,
    "named": lambda value: isinstance(value, bool),
    "ignore_label": lambda value: value is None or _is_whole(value),
    "channels": _are_texts,
    "cases": lambda value: isinstance(value, Mapping),
}

_OPTIONAL_FIELDS: dict[str, Check] = {
    "regions": _are_regions,
    "resample_modalities": lambda value: isinstance(value, bool),
}
"""Projects that were made before there was such a thing have none of it."""

_ENTRY_FIELDS: dict[str, Check] = {
    "images": _are_files,
    "label": _is_maybe_text,
    "patient": lambda value: isinstance(value, str),
    "set": lambda value: value in (None, TRAIN, VALIDATION, TEST),
    "status": lambda value: value in STATUSES,
    "values": _are_values,
}
