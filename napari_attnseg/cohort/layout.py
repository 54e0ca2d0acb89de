"""What a dataset layout must offer, and how a folder's layout is recognised."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from napari_attnseg.cohort.browse import folders_in
from napari_attnseg.cohort.case import Cohort, listed
from napari_attnseg.cohort.grids import checked
from napari_attnseg.io import known_suffixes
from napari_attnseg.registry import Registry

_MOST_LOOKED_INTO = 20


class LayoutError(ValueError):
    """A folder in which no cases are recognised; the message says what was looked for."""


@dataclass(frozen=True)
class Fit:
    """How well a folder fits a layout.

    Args:
        missing: What the layout lacks there, as the end of a sentence; None if it fits.
        closeness: From 0 to 1, by which the nearest layout is named when none fits.
    """

    missing: str | None = None
    closeness: float = 1.0


class Layout(Protocol):
    """One way to arrange a data set in a folder; registered by name, made without arguments.

    ``looks_for`` says what it needs, in messages; layouts are tried in the order of ``rank``.
    """

    looks_for: str
    rank: int

    def fit(self, folder: Path) -> Fit:
        """Return whether a folder has this layout, from names alone."""

    def load(self, folder: Path) -> Cohort:
        """Return the cases of a folder that fits."""


LAYOUTS: Registry[type[Layout]] = Registry("dataset layout", "napari_attnseg.cohort.layouts")


def recognise(folder: str | Path) -> Cohort:
    """Return the cases in a folder, whichever known layout it has.

    Only names and headers are read.

    Raises:
        LayoutError: If there is no such folder or no cases in it; the message says what was
            looked for and what comes nearest.
    """
    folder = Path(folder).expanduser()
    _require_folder(folder)
    layouts = {name: part() for name, part in in_order()}
    fits = []
    for layout in layouts.values():
        fit = layout.fit(folder)
        if fit.missing is None:
            cohort = checked(layout.load(folder))
            if cohort.cases:
                return cohort
            raise LayoutError(_no_cases(folder, cohort))
        fits.append((fit, layout))
    nearest, like = max(fits, key=lambda one: one[0].closeness)
    looked_for = "; ".join(layout.looks_for for layout in layouts.values())
    inside = _recognised_inside(folder, list(layouts.values()))
    hint = inside if inside else f"The nearest match: {_title(like)}, but {nearest.missing}."
    raise LayoutError(
        f"No cases are recognised in {str(folder)!r}. {hint} Looked for {looked_for}."
    )


def in_order() -> list[tuple[str, type[Layout]]]:
    """Return the layouts with their names, in the order in which they are tried."""
    return sorted(LAYOUTS.items(), key=lambda one: one[1].rank)


def _title(layout: Layout) -> str:
    """Return what a layout is called: the first words of its description."""
    return (type(layout).__doc__ or "").partition("\n")[0].rstrip(".")


def _require_folder(folder: Path) -> None:
    try:
        if folder.is_file():
            raise LayoutError(f"{str(folder)!r} is a file; give the folder that holds the cases.")
        if not folder.is_dir():
            raise LayoutError(f"There is no folder {str(folder)!r}.{_similar(folder)}")
        names = [one.name for one in folder.iterdir() if not one.name.startswith(".")]
    except OSError as error:
        raise LayoutError(
            f"The folder {str(folder)!r} cannot be read: {error.strerror or error}."
        ) from error
    if "project.json" in names:
        raise LayoutError(f"{str(folder)!r} is a project already; open it instead.")
    if not names:
        known = ", ".join(sorted(known_suffixes()))
        raise LayoutError(
            f"The folder {str(folder)!r} is empty. Looked for volumes ({known}) or a data set "
            "with its dataset.json."
        )


def _similar(folder: Path) -> str:
    if not folder.parent.is_dir():
        return ""
    there = [one.name for one in folder.parent.iterdir() if one.is_dir()]
    close = difflib.get_close_matches(folder.name, there, n=1)
    return f" Did you mean {str(folder.parent / close[0])!r}?" if close else ""


def _recognised_inside(folder: Path, layouts: list[Layout]) -> str | None:
    """Return what to choose where folders inside hold cases; None if none does."""
    names = [
        one.name
        for one in folders_in(folder)[:_MOST_LOOKED_INTO]
        if any(layout.fit(one).missing is None for layout in layouts)
    ]
    if not names:
        return None
    if len(names) == 1:
        return f"Its folder {names[0]!r} holds cases; choose that one."
    return f"Its folders {listed(names)} hold cases; choose one of them."


def _no_cases(folder: Path, cohort: Cohort) -> str:
    why = " ".join(cohort.warnings[:3])
    return f"No usable case is in {str(folder)!r}. {why}".strip()
