"""What can be chosen is what is registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from napari_attnseg.config import Config, setting
from napari_attnseg.explanation import METHODS
from napari_attnseg.explanation.contract import LocalMethod
from napari_attnseg.jobs import Runner, State
from napari_attnseg.jobs.contract import JOBS, Context
from napari_attnseg.losses import LOSSES


def answer() -> dict[str, Any]:
    steps = JOBS["choices"]({}, Context(should_stop=lambda: False))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return dict(end.value)


def test_every_loss_and_method_is_told_with_a_sentence_and_the_default_first() -> None:
    told = answer()

    names = {kind: [one["name"] for one in entries] for kind, entries in told.items()}
    assert set(names["losses"]) == set(LOSSES)
    assert set(names["methods"]) == set(METHODS)
    assert (names["losses"][0], names["methods"][0]) == ("dice-ce", "layer-cam")
    assert all(one["summary"].endswith(".") for entries in told.values() for one in entries)


def test_a_part_that_was_just_added_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def new_loss() -> None:
        """A loss that was just added.

        Its docstring goes on.
        """

    @dataclass(frozen=True)
    class Smoothness(Config):
        """How smooth it is."""

        width: int = setting(3, help="Cells", minimum=1)

    class NewCAM(LocalMethod):
        """A method that was just added."""

        title = "New-CAM"
        Options = Smoothness

    assert LOSSES
    assert METHODS
    monkeypatch.setitem(LOSSES._parts, "new-loss", new_loss)  # type: ignore[arg-type]
    monkeypatch.setitem(METHODS._parts, "new-cam", NewCAM)  # type: ignore[arg-type]

    told = answer()

    loss = {"name": "new-loss", "title": "new-loss", "summary": "A loss that was just added."}
    width = {"name": "width", "default": 3, "type": "int", "help": "Cells", "choices": None}
    method = {
        "name": "new-cam",
        "title": "New-CAM",
        "summary": "A method that was just added.",
        "space": "layer",
        "options": [{**width, "minimum": 1, "maximum": None}],
    }
    assert loss in told["losses"]
    assert method in told["methods"]


def test_a_child_answers() -> None:
    runner = Runner()
    handle = runner.start("choices", {})

    assert handle.wait(60) is State.DONE, handle.trouble
    assert {one["name"] for one in (handle.result or {})["methods"]} == set(METHODS)
    runner.close()
