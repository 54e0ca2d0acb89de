"""What ``attnseg explain`` does with maps once they are there: checks, effects, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer

from napari_attnseg.cli.app import print_line
from napari_attnseg.cli.engine import run_job

FORMS = ("quick", "full")


@dataclass(frozen=True)
class Wishes:
    """What is asked for besides maps.

    Args:
        check: Form of the check of each map, or None.
        effects: Whether to compare attention modules.
        png: Whether to draw panels.
        film: Whether to draw a film.
    """

    check: str | None = None
    effects: bool = False
    png: bool = False
    film: bool = False

    def __post_init__(self) -> None:
        if self.check is not None and self.check not in FORMS:
            raise typer.BadParameter(f"--check is {' or '.join(FORMS)}; found {self.check!r}")


def fulfil(wishes: Wishes, settings: dict[str, Any], maps: list[dict[str, Any]]) -> None:
    """Do what was asked for; what came out is added to the maps, effects as one more entry.

    Args:
        wishes: What was asked for.
        settings: Of the job that made the maps.
        maps: With ``path`` and ``kind``.
    """
    made = [one for one in maps if one.get("path") and one.get("kind") != "attention"]
    shared = {key: settings[key] for key in ("run", "weights", "input", "settings", "overwrite")}
    for one in made if wishes.check else ():
        asked = {**shared, "map": one["path"], "form": wishes.check}
        one["check"] = run_job("check", asked, "Checking")
    for one in made if wishes.png or wishes.film else ():
        one["pictures"] = _pictures(one, shared, wishes)
    if wishes.effects:
        found: list[dict[str, Any]] = []
        asked = {**shared, "out": settings["out"]}
        run_job("effects", asked, "Comparing", found.append)
        maps += [
            {**event, "kind": "effects", "path": None}
            for event in found
            if event["event"] == "effects"
        ]


def print_more(one: dict[str, Any]) -> None:
    """Print what was found beside a map, or about attention."""
    if one.get("kind") == "effects":
        print_line(f"{one.get('reason') or 'effects of attention'} -> {one['record']}")
        for site in one["sites"]:
            print_line(f"  {site['site']:12} {site['effect']:.4f}  {site['sentence']}")
    check = one.get("check")
    if check:
        print_line(f"  {check['verdict']['sentence']} -> {check['record']}")
        for flag in check["flags"]:
            print_line(f"  {flag}")
    for path in one.get("pictures", ()):
        print_line(f"  picture -> {path}")


def _pictures(one: dict[str, Any], shared: dict[str, Any], wishes: Wishes) -> list[str]:
    files: list[str] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "file":
            files.append(event["path"])

    asked = {
        "input": shared["input"],
        "overwrite": shared["overwrite"],
        "maps": [one["path"]],
        "png": wishes.png,
        "film": wishes.film,
    }
    run_job("picture", asked, "Drawing", listen)
    return files
