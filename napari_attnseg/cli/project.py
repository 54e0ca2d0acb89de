"""``attnseg project``: make, extend or list a project."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from napari_attnseg.cli.app import Json, app, note, print_json, print_line
from napari_attnseg.cli.inputs import is_project
from napari_attnseg.cohort.project import Project


@app.command()
def project(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Its folder.")],
    cases: Annotated[
        list[Path] | None, typer.Option(help="Folder of cases to add; its layout is recognised.")
    ] = None,
    resample_modalities: Annotated[
        bool,
        typer.Option(
            "--resample-modalities",
            help="Put the images of each case on one grid: the label's, or else the first one's.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a project, add cases to it, or list them with their sets and states."""
    opened = open_with_cases(path, cases or [])
    if resample_modalities:
        moved = opened.resample_modalities()
        many = "1 case" if len(moved) == 1 else f"{len(moved)} cases"
        note(f"The images of {many} lay on several grids and are resampled when they are read.")
    if as_json:
        print_json(opened.to_json())
    else:
        print_cases(opened)


def open_with_cases(path: Path, folders: list[Path]) -> Project:
    """Return the project in a folder, made if needed, with the cases of other folders added."""
    from napari_attnseg.cohort import recognise

    # All folders are read before anything is written: a bad one must not leave half a project.
    cohorts = [recognise(folder) for folder in folders]
    is_new = bool(folders) and not is_project(path)
    with _all_or_nothing(path) if is_new else nullcontext():
        opened = Project.create(path) if is_new else Project.open(path)
        warnings = [text for cohort in cohorts for text in opened.add(cohort)]
    for text in warnings:
        note(f"Warning: {text}")
    return opened


@contextmanager
def _all_or_nothing(path: Path) -> Iterator[None]:
    """Take back what was made of a new project if its cases cannot be entered."""
    before = set(path.iterdir()) if path.is_dir() else None
    try:
        yield
    except (ValueError, OSError):
        if path.is_dir():
            for one in set(path.iterdir()) - (before or set()):
                if one.is_dir():
                    shutil.rmtree(one)
                else:
                    one.unlink()
            if before is None:
                path.rmdir()
        raise


def print_cases(opened: Project) -> None:
    """Print one line a case."""
    width = max([len(case.name) for case in opened.cases] + [4])
    print_line(f"{'case':{width}}  {'status':10}  set")
    for case in opened.cases:
        print_line(f"{case.name:{width}}  {case.status:10}  {case.set or '-'}")
    counts = Counter(case.set or "without label" for case in opened.cases)
    print_line(", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    classes = ", ".join(f"{value} = {name}" for value, name in opened.classes.items())
    print_line(f"classes: {classes or 'none yet'}")
    if opened.regions:
        parts = (f"{name} = {', '.join(map(str, sorted(one)))}" for name, one in opened.regions)
        print_line(f"regions: {'; '.join(parts)}")
