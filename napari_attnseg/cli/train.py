"""``attnseg train``: teach a network the cases of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_attnseg.cli.app import Device, Json, app, print_json, print_line
from napari_attnseg.cli.engine import run_job
from napari_attnseg.cli.inputs import find_run


@app.command()
def train(  # noqa: PLR0913 - each option of the command is an argument
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Its folder.")],
    backbone: Annotated[str | None, typer.Option(help="Network, see attnseg models.")] = None,
    attention: Annotated[str | None, typer.Option(help="Attention module.")] = None,
    network: Annotated[str | None, typer.Option(help="A published network by its name.")] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Where attention sits, such as encoder:0,2.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Size; the plan's by default.")] = None,
    dims: Annotated[int | None, typer.Option(help="2 for slices, 3 for volumes.")] = None,
    stage: Annotated[
        str | None, typer.Option(help="Of hdenseunet: 2d, then --from it 3d, then hybrid.")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="dice, ce, focal, dice-ce, dice-focal.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall time of the training.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of minutes.")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of minutes.")] = None,
    init: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Begin with these weights, see README.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="RUN", help="Continue from its weights.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped run, the newest by default.")
    ] = False,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="With --resume: which one.")
    ] = None,
    learn_from: Annotated[
        list[str] | None, typer.Option(help="With --from: case to learn more from.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, patches and augmentation.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a network; Ctrl-C stops and keeps what was reached."""
    if sum(one is not None for one in (minutes, epochs, steps)) > 1:
        raise typer.BadParameter("give --minutes, --epochs or --steps, one of them")
    if init is not None and (start or resume):
        raise typer.BadParameter("--init begins a new network; --from and --resume have weights")
    if run is not None and not resume:
        raise typer.BadParameter(f"{run!r} is not expected here; a RUN follows --resume")
    if learn_from and not start:
        raise typer.BadParameter("--learn-from goes with --from RUN, the run to continue from")
    settings: dict[str, Any] = {"project": str(project)}
    if resume:
        settings["resume"] = True if run is None else _run_of(project, run)
    else:
        settings["model"] = _given(
            backbone=backbone,
            attention=attention,
            network=network,
            sites=site,
            preset=preset,
            dims=dims,
            options={"stage": stage} if stage else None,
        )
        settings["train"] = _given(
            loss=loss, minutes=minutes, epochs=epochs, steps=steps, seed=seed, device=device
        )
        settings["init"] = None if init is None else str(init)
        settings["from"] = _run_of(project, start) if start else None
        settings["learn_from"] = learn_from or None
    result = run_job("train", settings, f"Training {project.name}")
    if as_json:
        print_json(result)
    else:
        _print_result(project, result)


def _run_of(project: Path, text: str) -> str:
    """Return the folder of a project's run."""
    from napari_attnseg.cohort.project import Project

    opened = Project.open(project)
    if (Path(text) / "config.json").is_file() or ":" in text:
        return str(find_run(text))
    return str(opened.run_dir(text))


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _print_result(project: Path, result: dict[str, Any]) -> None:
    run = Path(str(result.get("run", ""))).name
    classes = result.get("classes") or {}
    mean = (result.get("validation") or {}).get("mean") or {}
    for value, dice in mean.items():
        if dice is not None:
            print_line(f"validation Dice, {classes.get(value, value)}: {dice:.4f}")
    if result.get("state") == "stopped" and not run:
        print_line("Stopped before the training began; there is nothing to keep.")
    elif result.get("state") == "stopped":
        print_line(f"Stopped; run {run} is kept. Go on: attnseg train {project} --resume {run}")
    else:
        print_line(f"Run {run} is trained: {project / 'runs' / run}")
