"""The application that commands register with, and what all of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="attnseg",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segment 3-D medical images and see what the network looked at. For research use only.",
    epilog="Without a command it opens napari; files or a project may follow.",
    no_args_is_help=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Resample = Annotated[
    bool, typer.Option("--resample", help="Put images of other grids onto the first one's.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if needed.")]


def print_json(document: Any) -> None:
    """Print a document as JSON on stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def print_line(text: str) -> None:
    """Print a line of a command's result on stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """Print a line about the work, which is no result, on stderr."""
    typer.echo(text, err=True)
