"""What the chosen network costs on this machine: asked for once, and told in words."""

from __future__ import annotations

import json
from typing import Any

from psygnal import Signal

from napari_attnseg.session.cases import CaseDesk
from napari_attnseg.session.work import Event, Work, WorkList

QUIET_KINDS = ("describe_model", "measure_model", "count_windows")
"""Questions whose failure is told where their answer would stand."""

_PLAN = ("patch_size", "spacing_dhw", "orientation")


class CostDesk:
    """Has the network in use measured in a child of its own, when nothing is being trained."""

    changed = Signal()

    def __init__(self, work: WorkList, cases: CaseDesk) -> None:
        self._work, self._cases = work, cases
        self.cost: dict[str, Any] | None = None
        self.windows: int | None = None
        self.problem = ""
        self._description: dict[str, Any] | None = None
        self._settings: dict[str, Any] = {}
        self._key = ""
        self._measuring: Work | None = None
        cases.case_opened.connect(lambda _: self._count())
        work.ended.connect(self._ended)

    @property
    def is_measuring(self) -> bool:
        """Whether an answer is still to come."""
        return self._measuring is not None

    def want(self, description: dict[str, Any] | None, settings: dict[str, Any]) -> None:
        """Have a network measured, unless it is the one that already is.

        Args:
            description: What the job ``describe_model`` told of it, None while it has not.
            settings: That job's settings, but the network.
        """
        if description is None or "model" not in description:
            return
        facts = [description["model"], description.get("patch_size"), settings]
        key = json.dumps(facts, sort_keys=True, default=str)
        if key == self._key:
            return
        self._key, self._description = key, description
        self._settings = {**settings, "model": description["model"]}
        self.cost, self.windows, self.problem = None, None, ""
        if self._measuring is not None:
            self._work.stop(self._measuring)
        self._measure()
        self._count()

    def words(self) -> list[str]:
        """Return what the network costs, each in a few words; nothing while it is unknown."""
        cost = self.cost or {}
        parts = _counts(cost)
        window = cost.get("window_seconds")
        if window and self.windows:
            parts.append(f"this case in about {_seconds(window * self.windows)}")
        if cost.get("step_seconds"):
            parts.append(f"training step about {_seconds(cost['step_seconds'])}")
        if not cost and self.is_measuring:
            parts.append("measuring time and memory…")
        return parts + [one for one in (self.problem, cost.get("note")) if one]

    def _measure(self) -> None:
        # Beside a training nothing could be measured that would hold without it.
        is_busy = self._work.running("train") is not None
        work = self._work.start(
            "measure_model",
            {**self._settings, "only_known": is_busy},
            "Measuring the network",
            on_event=self._taker(self._take_cost),
            quiet=True,
        )
        self._measuring = None if work.has_ended else work

    def _count(self) -> None:
        case, about = self._cases.case, self._description
        if case is None or about is None or about.get("patch_size") is None:
            return
        self.windows = None
        grid = case.image.grid
        plan = {name: about[name] for name in _PLAN} | {"dims": about["model"]["dims"]}
        settings = {
            "plan": plan,
            "size_multiple": about["size_multiple"],
            "context_margin": about["context_margin"],
            "shape_dhw": list(grid.shape_dhw),
            "affine": grid.affine.tolist(),
        }
        taker = self._taker(self._take_windows)
        self._work.start("count_windows", settings, "Counting windows", on_event=taker, quiet=True)

    def _taker(self, take: Any) -> Any:
        key, case = self._key, self._cases.case

        def hear(work: Work, event: Event) -> None:
            is_current = key == self._key and (take != self._take_windows or case is self._case())
            if is_current and event["event"] in ("result", "error"):
                take(event)
                self.changed.emit()

        return hear

    def _case(self) -> Any:
        return self._cases.case

    def _take_cost(self, event: Event) -> None:
        if event["event"] == "error":
            self.problem = str(event.get("text") or "The network could not be measured.")
        elif event.get("parameters") or event.get("note"):
            self.cost = event

    def _take_windows(self, event: Event) -> None:
        self.windows = event.get("windows")

    def _ended(self, work: Work) -> None:
        if work is self._measuring:
            self._measuring = None
            self.changed.emit()
        elif work.kind == "train" and self.cost is None and self._settings:
            self._measure()


def _counts(cost: dict[str, Any]) -> list[str]:
    parts = []
    if cost.get("multiply_adds"):
        parts.append(f"{_short(cost['multiply_adds'])} multiply-adds a window")
    for use, name in (("to segment", "window"), ("to train", "step")):
        measured, predicted = cost.get(f"{name}_bytes"), cost.get(f"predicted_{name}_bytes")
        if measured:
            parts.append(f"{_bytes(measured)} {use}")
        elif predicted:
            parts.append(f"at least {_bytes(predicted)} {use}")
    return parts


def _short(number: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            value = number / size
            return f"{value:.1f} {letter}" if value < 10 else f"{value:.0f} {letter}"
    return f"{number:.0f}"


def _bytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.1g} s"
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
