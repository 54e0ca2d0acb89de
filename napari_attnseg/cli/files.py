"""``attnseg info`` and ``attnseg convert``: files as they are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_attnseg.cli.app import Json, Overwrite, app, note, print_json, print_line

if TYPE_CHECKING:
    from napari_attnseg.volume import Volume


class Remedies(StrEnum):
    """What may be done about slices that make no regular grid."""

    RESAMPLE = "resample"
    LONGEST_RUN = "longest-run"


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
    series: Annotated[
        str | None, typer.Option(help="Which DICOM series: its number or description.")
    ] = None,
    remedy: Annotated[
        Remedies | None,
        typer.Option(help="Resample tilted slices, or read the longest run of even ones."),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="It is a label map: whole numbers, or refused.")
    ] = False,
    refer_to: Annotated[
        Path | None,
        typer.Option("--source", help="The DICOM series that a .dcm segmentation refers to."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a volume in another format, with the same voxels in the same place."""
    from napari_attnseg.io import write_volume
    from napari_attnseg.jobs.inputs import require_new_files, require_writable

    require_new_files([target], overwrite=overwrite)
    require_writable(target.parent)
    volume = _read(source, series, remedy and remedy.value, labels=labels)
    write_volume(target, volume, source=refer_to)
    for text in volume.storage.extra.get("warnings", ()) if volume.storage else ():
        note(f"Warning: {text}")
    print_line(f"{source} -> {target}")


def _read(path: Path, series: str | None, remedy: Any, *, labels: bool) -> Volume:
    """Return a volume, lazily if it is large, with refusals in the words of the command."""
    from napari_attnseg.io import (
        IrregularSeriesError,
        SeriesChoiceError,
        VolumeError,
        open_volume,
        read_volume,
    )

    try:
        if labels:
            return read_volume(path, labels=True, series=series, remedy=remedy)
        return open_volume(path, series=series, remedy=remedy)
    except SeriesChoiceError as error:
        raise VolumeError(str(error).replace("(series=1)", "(--series 1)")) from error
    except IrregularSeriesError as error:
        told = str(error).replace(f"remedy={error.remedy!r}", f"--remedy {error.remedy}")
        raise VolumeError(told) from error


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
