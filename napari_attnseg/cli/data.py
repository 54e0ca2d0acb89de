"""``attnseg data``: fetch a public data set, checked by its hash."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from napari_attnseg.cli.app import app, note, print_line
from napari_attnseg.cli.display import Display
from napari_attnseg.cli.engine import stop_on_ctrl_c
from napari_attnseg.io.public_data import (
    DATA_SETS,
    LICENCE,
    SOURCE,
    DataSet,
    data_set,
    fetching,
)

_UNHURRIED_SECONDS = 0.2


@app.command()
def data(
    name: Annotated[
        str | None, typer.Argument(help="Such as hippocampus; none lists them.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to put it in.")] = Path(),
) -> None:
    """Fetch a public data set; what an earlier call began is gone on with."""
    if name is None:
        for one in DATA_SETS:
            print_line(f"{one.name:15} {one.gigabytes:5.2f} GB   {one.content}")
        print_line(f"{SOURCE}; {LICENCE}.")
        return
    wanted = data_set(name)
    if not _fetch(wanted, out):
        note("Stopped; the same command goes on from here.")
        raise typer.Exit(1)
    place = out / wanted.folder
    print_line(str(place))
    note(f"{SOURCE}; {LICENCE}.")
    command = ["attnseg", "project", f"{wanted.name}-project", "--cases", str(place)]
    note(f"Next: {shlex.join(command)}")


def _fetch(wanted: DataSet, out: Path) -> bool:
    start: dict[str, tuple[float, int]] = {}
    shown = 0.0
    with stop_on_ctrl_c() as stop, Display(wanted.folder) as bar:
        steps = fetching(wanted, out, stop.is_set)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return bool(end.value)
            now = time.monotonic()
            began, first = start.setdefault(step.what, (now, step.done))
            if now - shown < _UNHURRIED_SECONDS and step.done < step.total:
                continue
            shown = now
            came = step.done - first
            left = (now - began) / came * (step.total - step.done) if came else None
            size = f"{step.done / 1e6:.0f} of {step.total / 1e6:.0f} MB"
            bar.show(
                {
                    "event": "progress",
                    "done": step.done,
                    "total": step.total,
                    "text": f"{wanted.folder}: {step.what}, {size}",
                    "eta_seconds": left,
                }
            )
