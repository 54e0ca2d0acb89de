"""Where ``attnseg`` begins: commands, errors as sentences, and exit statuses."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_attnseg import __version__
from napari_attnseg.cli import (
    compare,
    data,
    demo,
    evaluate,
    explain,
    files,
    machine,
    predict,
    project,
    train,
)
from napari_attnseg.cli.app import app, note
from napari_attnseg.config import ConfigError
from napari_attnseg.jobs import explain_error
from napari_attnseg.jobs.sentences import UNEXPECTED
from napari_attnseg.registry import UnknownPartError
from napari_attnseg.threads import sharing_processor

COMMAND_MODULES = (demo, machine, project, train, predict, explain, evaluate, compare, files, data)

DONE, FAILED, WRONG_USAGE = 0, 1, 2

_VERBOSE = "--verbose"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 failed, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    is_verbose = _VERBOSE in words
    words = [word for word in words if word != _VERBOSE]
    _prepare_streams(is_verbose=is_verbose)
    os.environ.update(sharing_processor(os.environ))
    try:
        app(_with_window(words), prog_name="attnseg")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED * (end.code is not None)
    except Exception as error:  # noqa: BLE001 - the border: everything becomes a sentence
        return _report(error, is_verbose=is_verbose)
    return DONE


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[bool, typer.Option(_VERBOSE, help="Show log and tracebacks.")] = False,
) -> None:
    """Segment 3-D medical images and see what the network looked at. For research use only."""
    if version:
        typer.echo(f"napari-attnseg {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        window([])


@app.command(name="window", hidden=True)
def window(paths: Annotated[list[Path], typer.Argument(help="Files or a project.")]) -> None:
    """Open napari with the workbench docked."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"There is no file or folder {str(missing[0])!r}.")
    from napari_attnseg.gui.app import open_window

    open_window(paths)


def command_names() -> set[str]:
    """Return the names of all commands."""
    commands = app.registered_commands
    return {str(one.name or getattr(one.callback, "__name__", "")) for one in commands}


def _with_window(words: list[str]) -> list[str]:
    """Read ``attnseg FILE...`` as ``attnseg window FILE...``."""
    first = next((word for word in words if not word.startswith("-")), None)
    if first is None or first in command_names():
        return words
    looks_like_path = Path(first).exists() or any(mark in first for mark in "/\\.")
    return ["window", *words] if looks_like_path else words


def _report(error: Exception, *, is_verbose: bool) -> int:
    trouble = explain_error(error)
    if is_verbose:
        traceback.print_exception(error)
    step = trouble.next_step
    if step == UNEXPECTED and not is_verbose:
        step = "Run it again with --verbose and report what it shows."
    note(f"attnseg: {trouble.text} {step}".rstrip())
    is_usage = isinstance(error, (ConfigError, UnknownPartError))
    return WRONG_USAGE if is_usage else FAILED


def _prepare_streams(*, is_verbose: bool) -> None:
    for stream in (sys.stdout, sys.stderr):
        _survive_strange_letters(stream)
    level = logging.INFO if is_verbose else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=level, format="%(name)s: %(message)s")


def _survive_strange_letters(stream: Any) -> None:
    # A console that cannot show a letter must not end a training.
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
