"""``attnseg compare``: train networks on the same cases, and say which one is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_attnseg.cli.app import Device, Json, Overwrite, app, note, print_json, print_line
from napari_attnseg.cli.engine import run_job
from napari_attnseg.cli.evaluate import REPORTS
from napari_attnseg.jobs import Event

Names = list[str] | None
LENGTHS = ("steps", "epochs", "minutes")


@app.command()
def compare(  # noqa: PLR0913 - each option of the command is an argument
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Its folder.")],
    backbones: Annotated[Names, typer.Option(help="Networks, such as unet3d,vnet.")] = None,
    attentions: Annotated[Names, typer.Option(help="Modules, such as none,se,cbam.")] = None,
    losses: Annotated[Names, typer.Option(help="Losses, such as dice-ce,focal.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, 0 to N - 1.")] = 1,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps of each training.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of steps.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Instead of steps: wall time; 10 by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the comparison; its length by default.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Size; the plan's by default.")] = None,
    dims: Annotated[int | None, typer.Option(help="2 for slices, 3 for volumes.")] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write the table here.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report, .html or .md.")] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train each combination with the same plan, cases and length, and test it against none.

    Ctrl-C stops and keeps all; the same command goes on where it stopped.
    """
    if sum(one is not None for one in (steps, epochs, minutes)) > 1:
        raise typer.BadParameter("give one of --steps, --epochs and --minutes")
    _require_files(csv, report, overwrite=overwrite)
    length = {"steps": steps, "epochs": epochs, "minutes": minutes}
    settings = {
        "project": str(project),
        "backbones": _names(backbones),
        "attentions": _names(attentions),
        "losses": _names(losses),
        "seeds": seeds,
        "name": name,
        "model": {"preset": preset, "dims": dims},
        "train": {**length, "device": device, "threads": threads},
        "parallel": parallel,
        "csv": None if csv is None else str(csv),
        "report": None if report is None else str(report),
    }
    result = run_job("compare", settings, f"Comparing on {project.name}", _tell)
    table = result.pop("table")
    if as_json:
        print_json(result)
    else:
        _print_result(result, table)
    if result["failed"]:
        raise typer.Exit(1)


def _names(words: Names) -> list[str]:
    """Return names that were given one by one, or with commas between them."""
    return [part.strip() for word in words or () for part in word.split(",") if part.strip()]


def _require_files(csv: Path | None, report: Path | None, *, overwrite: bool) -> None:
    from napari_attnseg.jobs.inputs import require_new_files, require_writable

    if report is not None and report.suffix.lower() not in REPORTS:
        raise typer.BadParameter(f"--report is one of *{', *'.join(REPORTS)}; found {report}")
    files = [file for file in (csv, report) if file is not None]
    require_new_files(files, overwrite=overwrite)
    for file in files:
        require_writable(file.parent)


def _tell(event: Event) -> None:
    if event["event"] != "trial":
        return
    if event["dice"] is not None:
        score = f"Dice {event['dice']:.4f}, {event['steps']} steps in {event['seconds']:.0f} s"
    else:
        score = event["text"] or "stopped and kept"
    note(f"{event['done']} of {event['total']}: {event['title']}: {score}")


def _print_result(result: dict[str, Any], table: list[list[str]]) -> None:
    from napari_attnseg.evaluation.compare_files import TEST, as_text
    from napari_attnseg.jobs.kinds.compare import facts_of

    if result["rows"]:
        print_line(as_text(table))
        print_line("")
        print_line(TEST)
    for fact in facts_of(result):
        print_line(fact)
    if result["state"] == "stopped":
        print_line("Stopped; what was reached is kept. The same command goes on.")
    print_line(f"Written: {result['comparison']}")
