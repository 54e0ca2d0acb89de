"""What ``attnseg explain`` is asked about, from the words of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from napari_attnseg.jobs.inputs import JobError

ERRORS = {"fp": "false-positive", "fn": "false-negative"}


def class_value(text: str | None, facts: dict[str, Any]) -> int:
    """Return the value of a class given by value or name; the first class by default.

    Args:
        text: Value or name.
        facts: Of the run; `classes` are its names by value.

    Raises:
        JobError: If the run has no class of that name.
    """
    classes = {int(value): str(name) for value, name in (facts.get("classes") or {}).items()}
    if text is None:
        return min(classes, default=1)
    if text.lstrip("-").isdigit():
        return int(text)
    names = {0: "background", **classes}
    named = [value for value, name in names.items() if name.casefold() == text.casefold()]
    if not named:
        known = ", ".join(f"{value} = {name}" for value, name in classes.items())
        raise JobError(f"The run has no class {text!r}; its classes are {known}.")
    return named[0]


def part_of_class(
    at: str | None,
    component: str | None,
    region: Path | None,
    errors: str | None,
    reference: Path | None,
) -> dict[str, Any]:
    """Return which part of a class is asked about, in the form of the job; none is all of it.

    Raises:
        BadParameter: If more than one is, or a value cannot be read.
    """
    given = {"--at": at, "--component": component, "--region": region, "--errors": errors}
    asked = [name for name, value in given.items() if value is not None]
    if len(asked) > 1:
        raise typer.BadParameter(f"{' and '.join(asked)} ask for different regions; give one")
    if (errors is None) != (reference is None):
        raise typer.BadParameter("--errors and --reference go together")
    if at is not None:
        return {"kind": "voxel", "at": _place(at, "--at")}
    if component is not None:
        return {"kind": "component", **_component(component)}
    if region is not None:
        return {"kind": "region", "region": str(region)}
    return {} if errors is None else {"kind": _error(errors), "reference": str(reference)}


def _component(text: str) -> dict[str, Any]:
    if text.isdigit():
        return {"component": int(text)}
    return {"at": _place(text, "--component")}


def _error(text: str) -> str:
    if text not in ERRORS:
        raise typer.BadParameter(f"--errors is fp or fn, not {text!r}")
    return ERRORS[text]


def _place(text: str, option: str) -> list[float]:
    try:
        place = [float(one) for one in text.split(",")]
    except ValueError:
        place = []
    if len(place) != 3:
        raise typer.BadParameter(f"{option} needs a place in RAS mm, X,Y,Z, not {text!r}")
    return place
