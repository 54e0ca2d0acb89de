"""``attnseg explain``: maps of what a run looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_attnseg.cli.app import Device, Json, Overwrite, Resample, app, print_json, print_line
from napari_attnseg.cli.beyond_maps import Wishes, fulfil, print_more
from napari_attnseg.cli.engine import run_job
from napari_attnseg.cli.inputs import bind_input, chosen_weights, find_run, run_facts
from napari_attnseg.cli.targets import class_value, part_of_class
from napari_attnseg.jobs.inputs import JobError


@app.command()
def explain(  # noqa: PLR0913 - each option of the command is an argument
    run: Annotated[str, typer.Argument(help="A run's folder, PROJECT:ID, or an id.")],
    case: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="A file or a case folder.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the maps.")] = None,
    method: Annotated[str | None, typer.Option(help="layer-cam by default; see --list.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="Of the method; see --list."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--class", metavar="CLASS", help="Value or name.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z", help="Only the voxel at a place in RAS mm."),
    ] = None,
    component: Annotated[
        str | None,
        typer.Option(metavar="N|X,Y,Z", help="Only the N-th largest part, or that at a place."),
    ] = None,
    region: Annotated[
        Path | None, typer.Option(help="Only a region: a mask on the image's grid.")
    ] = None,
    versus: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Why this class rather than another.")
    ] = None,
    errors: Annotated[
        str | None, typer.Option(metavar="fp|fn", help="What was invented, or missed.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="Labels, for --errors.")] = None,
    layer: Annotated[str | None, typer.Option(help="See --list for the default.")] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Record what attention modules do.")
    ] = False,
    check: Annotated[
        str | None,
        typer.Option(metavar="quick|full", help="Measure how far each map can be trusted."),
    ] = None,
    effects: Annotated[
        bool, typer.Option("--effects", help="Rank attention modules by what they change.")
    ] = False,
    png: Annotated[bool, typer.Option("--png", help="Draw each map as panels.")] = False,
    film: Annotated[bool, typer.Option("--film", help="Draw each map as a film.")] = False,
    list_choices: Annotated[
        bool, typer.Option("--list", help="List methods, layers and classes, and end.")
    ] = False,
    resample: Resample = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write a map of where a class's segmentation comes from, or of the attention."""
    folder = find_run(run)
    if list_choices:
        _list(folder, as_json=as_json)
        return
    if case is None or out is None:
        raise typer.BadParameter("INPUT and --out are needed, unless there is --list")
    facts, wishes = run_facts(folder), Wishes(check, effects, png, film)
    # Attention alone needs no class; asking for a method or a layer means a map of one.
    parts = (at, component, region, versus, errors)
    asked = (target, method, layer, option, *parts)
    wants_map = not (attention or effects) or any(one is not None for one in asked)
    about = part_of_class(at, component, region, errors, reference)
    if versus is not None:
        about = {"kind": "contrast", **about, "versus": class_value(versus, facts)}
    settings = {
        "run": str(folder),
        "weights": chosen_weights(run),
        "input": {**bind_input(case, facts.get("channels") or []), "resample": resample},
        "out": str(out),
        "target": {"class": class_value(target, facts), **about} if wants_map else None,
        "method": method,
        "layer": layer,
        "options": _options(option or []),
        "attention": attention,
        "settings": {"device": device},
        "overwrite": overwrite,
    }
    maps, is_stopped = _made(settings, wishes, wants_maps=wants_map or attention)
    if as_json:
        print_json(maps)
    else:
        _print_maps(maps)
    if is_stopped:
        raise JobError("Stopped before the maps were complete.")


def _made(
    settings: dict[str, Any], wishes: Wishes, *, wants_maps: bool
) -> tuple[list[dict[str, Any]], bool]:
    """Make maps and what is wished for besides; returns them, and whether it was stopped."""
    maps: list[dict[str, Any]] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "map":
            maps.append({"path": event["path"], **event["info"]})

    result = run_job("explain", settings, "Explaining", listen) if wants_maps else {}
    is_stopped = result.get("state") == "stopped"
    if not is_stopped:
        fulfil(wishes, settings, maps)
    return maps, is_stopped


def _options(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, sign, _ in pairs:
        if not sign:
            raise typer.BadParameter(f"--option needs NAME=VALUE, not {name!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _print_maps(maps: list[dict[str, Any]]) -> None:
    for one in maps:
        if one.get("kind") == "attention":
            print_line(f"{one.get('reason') or 'attention'} -> {one['record']}")
            for about in one["numbers"].values():
                if about.get("path"):
                    print_line(f"  {about['kind']} map -> {about['path']}")
        elif one.get("kind") == "effects":
            print_more(one)
        elif one["path"] is None:
            print_line(f"{one['reason']} ({one['record']})")
        else:
            print_line(f"{one['method']}, {one['class_name']}, {one['layer']} -> {one['path']}")
            print_more(one)


def _list(folder: Path, *, as_json: bool) -> None:
    from napari_attnseg.explanation import describe_methods, list_layers, list_methods
    from napari_attnseg.inference import load_run

    run = load_run(folder)
    layers = [one.to_dict() for one in list_layers(run)]
    classes = {str(value): name for value, name in run.classes.items()}
    if as_json:
        methods = list_methods()
        details = {one["name"]: one for one in describe_methods()}
        print_json({"methods": methods, "details": details, "layers": layers, "classes": classes})
        return
    print_line("methods")
    for one in describe_methods():
        print_line(f"  {one['name']:20} {one['summary']}")
        for option in one["options"]:
            print_line(f"    {option['name']}={option['default']}  {option['help']}")
    print_line("layers")
    for one in layers:
        cells = " x ".join(f"{mm:.3g}" for mm in one["stride_mm"])
        mark = "default" if one["default"] else ""
        print_line(f"  {one['name']:12} {cells} mm  {mark}  {one['remark']}".rstrip())
    print_line("classes")
    for value, name in classes.items():
        print_line(f"  {value:12} {name}")
    print_line(f"attention: {run.config.attention}")
