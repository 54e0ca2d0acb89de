"""The numbered folders of a project's runs: ``runs/001``, ``runs/002``, ..."""

from __future__ import annotations

from pathlib import Path

from napari_attnseg.cohort.ledger import ProjectError, told_plainly

RUNS = "runs"


def run_folders(project: Path) -> list[Path]:
    """Return the folders of the runs, oldest first."""
    folder = project / RUNS
    found = folder.iterdir() if folder.is_dir() else ()
    runs = (one for one in found if one.name.isdecimal() and one.is_dir())
    return sorted(runs, key=lambda one: int(one.name))


def new_run_folder(project: Path) -> Path:
    """Make the folder of the next run, which no other process gets at the same time.

    Raises:
        ProjectError: If it cannot be made.
    """
    number = max((int(one.name) for one in run_folders(project)), default=0)
    with told_plainly(project / RUNS):
        (project / RUNS).mkdir(exist_ok=True)
        while True:
            number += 1
            folder = project / RUNS / f"{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder


def find_run(project: Path, run: str | Path | int | None) -> Path:
    """Return the folder of a run given by its number or its path; the latest for None.

    Raises:
        ProjectError: If there is no such run.
    """
    runs = run_folders(project)
    if run is None:
        if not runs:
            raise ProjectError("The project has no run yet; train a model first.")
        return runs[-1]
    if str(run).isdecimal():
        found = next((one for one in runs if int(one.name) == int(str(run))), None)
        if found is not None:
            return found
    elif Path(str(run)).expanduser().is_dir():
        return Path(str(run)).expanduser().absolute()
    known = ", ".join(one.name for one in runs) or "none"
    raise ProjectError(f"The project has no run {str(run)!r}; there are: {known}.")
