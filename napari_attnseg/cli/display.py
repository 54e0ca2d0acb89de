"""Progress of a job on stderr: a bar with the time left, or lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from napari_attnseg.jobs import Event

SECONDS_BETWEEN_LINES = 5.0


class Display:
    """Shows a job's events.

    Args:
        title: What is being done, such as ``"Training run 001"``.
        console: Where to; stderr by default.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._title = title
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=1.0, left="")
        self._last_line = time.monotonic()
        self._listeners: dict[str, Callable[[Event], None]] = {
            "progress": self._show_progress,
            "step": self._show_step,
            "validation": self._show_validation,
            "warning": lambda event: self.line(f"Warning: {event['text']}"),
        }

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def show(self, event: Event) -> None:
        """Show what an event says, if it is for people."""
        listener = self._listeners.get(event["event"])
        if listener is not None:
            listener(event)

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def _show_progress(self, event: Event) -> None:
        total = event.get("total") or 0
        part = event["done"] / total if total else None
        self._update(event.get("text") or self._title, part, event.get("eta_seconds"))

    def _show_step(self, event: Event) -> None:
        text = f"{self._title}: epoch {event['epoch']}, loss {_number(event.get('loss'))}"
        self._update(text, event.get("progress"), event.get("eta_seconds"))

    def _show_validation(self, event: Event) -> None:
        classes = ", ".join(f"{v}: {_number(d)}" for v, d in (event.get("mean") or {}).items())
        best = ", best so far" if event.get("best") else ""
        checked = "all validation cases" if event.get("full") else "validation"
        dice = _number(event.get("dice"))
        self.line(f"epoch {event['epoch']}: {checked}, Dice {dice} ({classes}){best}")

    def _update(self, text: str, part: float | None, seconds_left: float | None) -> None:
        left = time_left(seconds_left)
        if self._console.is_terminal:
            self._progress.update(self._task, description=text, completed=part or 0.0, left=left)
            return
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            percent = f" {100 * part:.0f} %" if part is not None else ""
            self.line(f"{text}{percent}{', ' + left if left else ''}")


def time_left(seconds: float | None) -> str:
    """Return a duration in words, such as ``"4 min left"``."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{max(0, round(seconds))} s left"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min left"
    return f"{seconds / 3600:.1f} h left"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
