"""``attnseg info`` and ``attnseg convert``: files as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_attnseg.cli.app import Json, Overwrite, app, note, print_json, print_line


@app.command()
def info(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders.")], as_json: Json = False
) -> None:
    """Show size, place, type and classes of volumes, or why they are refused."""
    from napari_attnseg.io import describe_all

    rows = describe_all(paths)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print_line(_sentence(row))
    refused = [row for row in rows if not row["ok"]]
    if refused:
        for row in refused:
            note(f"attnseg: {row['path']} is refused: {row['reason']}")
        raise typer.Exit(1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A volume.")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Its suffix is the format.")],
    overwrite: Overwrite = False,
) -> None:
    """Write a volume in another format, with the same voxels in the same place."""
    from napari_attnseg.io import read_volume, write_volume
    from napari_attnseg.jobs.inputs import require_new_files, require_writable

    require_new_files([target], overwrite=overwrite)
    require_writable(target.parent)
    write_volume(target, read_volume(source))
    print_line(f"{source} -> {target}")


def _sentence(row: dict[str, Any]) -> str:
    if not row["ok"]:
        return f"{row['path']}: refused. {row['reason']}"
    size = " x ".join(map(str, row["shape"]))
    spacing = " x ".join(f"{mm:.3g}" for mm in row["spacing_mm"])
    facts = [
        row["format"],
        size,
        f"{spacing} mm",
        row["orientation"],
        row["dtype"],
        f"{row['range'][0]:g} to {row['range'][1]:g}" if row["range"] else "no finite voxel",
    ]
    if row["classes"]:
        facts.append(", ".join(f"{value} = {name}" for value, name in row["classes"].items()))
    lines = [f"{row['path']}: {' · '.join(map(str, facts))}"]
    return "\n".join([*lines, *(f"  {text}" for text in row["warnings"])])
