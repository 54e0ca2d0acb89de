"""``attnseg predict``: masks of cases that a run segments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_attnseg.cli.app import (
    Device,
    Json,
    Out,
    Overwrite,
    Resample,
    app,
    print_json,
    print_line,
)
from napari_attnseg.cli.cluster import run_on_cluster
from napari_attnseg.cli.engine import run_job
from napari_attnseg.cli.inputs import (
    bind_input,
    chosen_weights,
    find_run,
    is_project,
    run_facts,
)
from napari_attnseg.config import PredictConfig
from napari_attnseg.jobs.inputs import JobError

SETS = {"validation": "val", "val": "val", "train": "train", "test": "test", "all": None}


@app.command()
def predict(  # noqa: PLR0913 - each option of the command is an argument
    run: Annotated[str, typer.Argument(help="A run's folder, PROJECT:ID, or an id.")],
    out: Out,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Files, case or DICOM folders (FOLDER,series=2), or T1=a.nii.gz,FLAIR=b.nii.gz.",
        ),
    ] = None,
    cases: Annotated[
        str | None, typer.Option(help="Cases of the run's project: validation, test, train, all.")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each class's probability.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write where the run is unsure.")
    ] = False,
    resample: Resample = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over mirrored images.")] = False,
    overlap: Annotated[float, typer.Option(help="Of neighbouring windows, 0 to 0.9.")] = 0.5,
    overwrite: Overwrite = False,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a Dask scheduler.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Segment cases; each mask is written on the grid of its image."""
    if bool(inputs) == bool(cases):
        raise typer.BadParameter("give INPUTs or --cases, one of them")
    folder = find_run(run)
    chosen = _of_project(folder, cases) if cases else _of_files(folder, inputs or [])
    chosen = [{**one, "resample": resample} for one in chosen]
    settings = {
        "run": str(folder.resolve()),
        "weights": chosen_weights(run),
        "inputs": chosen,
        "out": str(out.resolve()),
        "settings": PredictConfig(
            overlap=overlap,
            tta=tta,
            probabilities=probabilities,
            uncertainty=uncertainty,
            device=device,
        ).to_dict(),
        "overwrite": overwrite,
    }
    found: list[dict[str, Any]] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "case":
            found.append({key: value for key, value in event.items() if key != "event"})

    if cluster is not None:
        result = run_on_cluster(cluster, settings, listen)
    else:
        result = run_job("predict", settings, "Segmenting", listen)
    if as_json:
        print_json({**result, "cases": found})
    else:
        for case in found:
            print_line(f"{case['name']} -> {case['labels']}")
    if result.get("state") == "stopped":
        raise JobError(f"Stopped after {len(found)} of {len(chosen)} cases.")


def _of_files(run: Path, texts: list[str]) -> list[dict[str, Any]]:
    channels = run_facts(run).get("channels") or []
    return [_absolute(bind_input(text, channels)) for text in texts]


def _of_project(run: Path, wanted: str) -> list[dict[str, Any]]:
    """Return the cases of a set, as the run knew the sets, with their files."""
    from napari_attnseg.cohort.project import Project

    if wanted not in SETS:
        raise typer.BadParameter(f"--cases is one of {', '.join(SETS)}; found {wanted!r}")
    folder = run.resolve().parent.parent
    if not is_project(folder):
        raise JobError(
            f"The run {run} is not in a project, so it has no cases; give the images as INPUTs."
        )
    project, kept = Project.open(folder), SETS[wanted]
    chosen = [case for case in project.cases if kept is None or case.set == kept]
    if not chosen:
        raise JobError(
            f"The project {folder} has no {wanted} cases; choose another set, as in --cases all."
        )
    return [
        {"name": case.name, "images": {key: str(path) for key, path in case.images.items()}}
        for case in chosen
    ]


def _absolute(case: dict[str, Any]) -> dict[str, Any]:
    # A cluster's workers run in folders of their own.
    images = {name: str(Path(path).resolve()) for name, path in case["images"].items()}
    return {**case, "images": images}
