"""Loss and Dice of a training over its steps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from napari_attnseg.session.work import Event


@dataclass
class Curves:
    """What a training has reported so far; positions are steps."""

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    dice: dict[int, list[float]] = field(default_factory=dict)
    epoch: int = 0
    best: float | None = None

    def add_step(self, event: Event) -> None:
        """Enter a step's loss."""
        self.steps.append(int(event["step"]))
        loss = event.get("loss")
        self.losses.append(float("nan") if loss is None else float(loss))
        self.epoch = int(event.get("epoch", self.epoch))

    def add_validation(self, event: Event) -> None:
        """Enter a validation's Dice of each class."""
        self.at.append(self.steps[-1] if self.steps else 0)
        for value, dice in (event.get("mean") or {}).items():
            line = self.dice.setdefault(int(value), [])
            line.extend([float("nan")] * (len(self.at) - 1 - len(line)))
            line.append(float("nan") if dice is None else float(dice))
        score = event.get("dice")
        if score is not None:
            self.best = score if self.best is None else max(self.best, score)


def read_curves(run: Path) -> Curves:
    """Return the curves that a run's training has left behind; empty if there are none."""
    curves = Curves()
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return curves
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("event") == "step":
            curves.add_step(event)
        elif event.get("event") == "validation":
            curves.add_validation(event)
    return curves
