"""The command line ``attnseg``; one file for each group of commands."""

from __future__ import annotations

from napari_attnseg.cli.entry import main

__all__ = ["main"]
