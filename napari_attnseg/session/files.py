"""What the worklist needs from the disk: projects, samples, single volumes, results so far."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_attnseg.cohort.project import Project

SAMPLE_LABELLED, SAMPLE_UNLABELLED = 10, 2


@dataclass(frozen=True)
class CaseRow:
    """One line of the worklist; None where a number is not known yet.

    Args:
        name: The case.
        status: Status of its labels.
        set: ``train``, ``val``, ``test``, or None while it has no label.
        dice: Mean Dice of the current run on it, if it is one to check on.
        volume_ml: Volume of everything that the current run predicted.
        unsure: Mean entropy of that prediction.
        warnings: What was odd about it, in sentences.
        has_label: Whether it has a finished label.
    """

    name: str
    status: str
    set: str | None
    dice: float | None = None
    volume_ml: float | None = None
    unsure: float | None = None
    warnings: tuple[str, ...] = ()
    has_label: bool = False


@dataclass(frozen=True)
class Worklist:
    """What a project holds, read once so that the window need not read it again.

    Args:
        name: What the person calls it.
        rows: The cases.
        classes: Names of label values, without the background.
        channels: Names of the images of each case.
    """

    name: str = ""
    rows: tuple[CaseRow, ...] = ()
    classes: dict[int, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()


def open_or_make_project(folder: Path) -> tuple[Project, list[str]]:
    """Open a project folder, or make one beside a folder of volumes.

    Returns:
        The project and warnings in sentences.
    """
    from napari_attnseg.cohort import recognise
    from napari_attnseg.cohort.project import Project

    folder = Path(folder)
    if folder.is_file():
        return add_volumes(None, [folder])
    if (folder / "project.json").is_file():
        return Project.open(folder), []
    cohort = recognise(folder)
    place = project_place(folder)
    if (place / "project.json").is_file():
        project = Project.open(place)
        return project, list(project.add(cohort))
    return Project.create(place, cohort), list(cohort.warnings)


def project_place(folder: Path) -> Path:
    """Return where the project of a data folder goes: beside it, or at home if that is locked."""
    beside = folder.resolve().parent / f"{folder.resolve().name}-attnseg"
    if beside.exists() or os.access(beside.parent, os.W_OK):
        return beside
    return home() / folder.resolve().name


def home() -> Path:
    """Return the user's own folder for samples and projects that have no better place."""
    return Path.home() / "attnseg"


def sample_project(folder: Path | None = None) -> tuple[Project, list[str]]:
    """Open the project of built-in cases, made on first use."""
    from napari_attnseg.cohort.phantoms import write_phantoms
    from napari_attnseg.cohort.project import Project

    folder = folder or home() / "sample"
    place = folder / "project"
    if (place / "project.json").is_file():
        return Project.open(place), []
    cohort = write_phantoms(
        folder / "cases", cases=SAMPLE_LABELLED, seed=0, unlabelled=SAMPLE_UNLABELLED
    )
    return Project.create(place, cohort), list(cohort.warnings)


def add_volumes(project: Project | None, paths: list[Path]) -> tuple[Project, list[str]]:
    """Add volumes, one a case, to a project, or to a new one beside the first of them.

    Raises:
        ValueError: If two files would get the same case name.
    """
    from napari_attnseg.cohort import Case, Cohort
    from napari_attnseg.cohort.project import Project
    from napari_attnseg.io import describe, stem

    channel = project.channels[0] if project is not None and project.channels else "image"
    cases = []
    for path in paths:
        facts = describe(path)
        if not facts["ok"]:
            raise ValueError(f"{Path(path).name}: {facts['reason']}")
        name = stem(path)
        cases.append(Case(name, {channel: Path(path)}, None, name))
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Two of the files would both become the case {twice[0]!r}; rename one.")
    folder = Path(paths[0]).resolve().parent
    cohort = Cohort(folder.name, cases, {} if project is None else project.classes, (channel,))
    if project is not None:
        return project, list(project.add(cohort))
    place = project_place(folder)
    if (place / "project.json").is_file():
        project = Project.open(place)
        return project, list(project.add(cohort))
    return Project.create(place, cohort), list(cohort.warnings)


def worklist(project: Project, run_id: str | None) -> Worklist:
    """Return the worklist, with what a run's results say about each case."""
    known = predicted(project, run_id)
    dice = validation_dice(project, run_id)
    rows = []
    for case in project.cases:
        facts = known.get(case.name, {})
        volumes = [ml for ml in facts.get("volumes_ml", {}).values() if ml is not None]
        rows.append(
            CaseRow(
                name=case.name,
                status=case.status,
                set=case.set,
                dice=dice.get(case.name),
                volume_ml=sum(volumes) if volumes else None,
                unsure=facts.get("unsure"),
                warnings=tuple(facts.get("warnings", ())),
                has_label=case.label is not None,
            )
        )
    return Worklist(project.name, tuple(rows), dict(project.classes), tuple(project.channels))


def validation_dice(project: Project, run_id: str | None) -> dict[str, float]:
    """Return each validation case's mean Dice over its classes, as the run's result says."""
    if run_id is None:
        return {}
    cases = read_json(run_path(project, run_id) / "result.json").get("validation", {})
    found = {}
    for name, values in (cases or {}).get("cases", {}).items():
        scores = [value for value in values.values() if value is not None]
        if scores:
            found[name] = sum(scores) / len(scores)
    return found


def run_path(project: Project, run_id: str) -> Path:
    """Return the folder of a run by its id."""
    return Path(project.path) / "runs" / run_id


def predicted(project: Project, run_id: str | None) -> dict[str, dict[str, Any]]:
    """Return what was noted about each case that a run has segmented."""
    if run_id is None:
        return {}
    return read_json(Path(project.predictions_dir(run_id)) / "cases.json")


def note_prediction(project: Project, run_id: str, name: str, facts: dict[str, Any]) -> None:
    """Keep what a prediction said of a case beside its mask, by paths inside the project."""
    folder = Path(project.predictions_dir(run_id))
    known = read_json(folder / "cases.json")
    known[name] = {key: _inside(value, folder) for key, value in facts.items()}
    write_json(folder / "cases.json", known)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object, or an empty one if the file is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write JSON beside, then rename, so that nothing is ever half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def _inside(value: Any, folder: Path) -> Any:
    if isinstance(value, str) and value.startswith(str(folder)):
        return os.path.relpath(value, folder)
    return value
