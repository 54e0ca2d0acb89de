"""One line a job: what runs, how far it is, how long it takes, and how to stop it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QToolButton, QVBoxLayout, QWidget

from napari_attnseg.gui.words import time_left
from napari_attnseg.session import Work

_STATES = {
    "STARTING": "starting",
    "STOPPING": "stopping…",
    "DONE": "done",
    "STOPPED": "stopped",
    "FAILED": "failed",
    "LOST": "ended unexpectedly",
}


class JobLine(QWidget):
    """One job.

    Args:
        work: The job.
        stop: Asks it to stop.
        dismiss: Takes the line of an ended job away.
    """

    def __init__(
        self, work: Work, stop: Callable[[Work], None], dismiss: Callable[[Work], None]
    ) -> None:
        super().__init__()
        self.work, self._stop, self._dismiss = work, stop, dismiss
        self.label = QLabel()
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setMinimumWidth(40)
        self.detail = QLabel()
        self.detail.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(5)
        self.button = QToolButton()
        self.button.clicked.connect(self._pressed)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 2)
        grid.setVerticalSpacing(1)
        grid.addWidget(self.label, 0, 0)
        grid.addWidget(self.detail, 0, 1)
        grid.addWidget(self.button, 0, 2, 2, 1)
        grid.addWidget(self.bar, 1, 0, 1, 2)
        grid.setColumnStretch(0, 1)
        self.refresh()

    def refresh(self) -> None:
        """Show what is known of the job now."""
        work = self.work
        self.label.setText(f"▶ {work.title}" if not work.has_ended else work.title)
        parts = [_STATES.get(work.state, ""), work.text if not work.has_ended else ""]
        parts.append(time_left(work.eta_seconds) if work.can_stop else "")
        self.detail.setText(" · ".join(part for part in parts if part))
        self.setToolTip(_tooltip(work))
        self.bar.setVisible(not work.has_ended)
        if work.fraction is None:
            self.bar.setRange(0, 0)
        else:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * work.fraction))
        self.button.setText("×" if work.has_ended else "■")
        self.button.setToolTip("Take this line away" if work.has_ended else "Stop and keep")
        self.button.setEnabled(work.has_ended or work.can_stop)

    def _pressed(self) -> None:
        (self._dismiss if self.work.has_ended else self._stop)(self.work)


class JobLines(QWidget):
    """The newest jobs.

    Args:
        stop: Asks a job to stop.
        dismiss: Takes the line of an ended job away.
        at_most: Lines to show; ended ones go first.
    """

    def __init__(
        self, stop: Callable[[Work], None], dismiss: Callable[[Work], None], at_most: int = 3
    ) -> None:
        super().__init__()
        self._stop, self._dismiss, self._at_most = stop, dismiss, at_most
        self.lines: dict[Work, JobLine] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)

    def refresh(self, works: list[Work]) -> None:
        """Show these jobs."""
        loud = [work for work in works if not work.quiet]
        running = [work for work in loud if not work.has_ended]
        ended = [work for work in loud if work.has_ended]
        # What ended well was told in the status line; one such line is enough to find it again.
        good = [work for work in ended if work.state in ("DONE", "STOPPED")][-1:]
        kept = [work for work in ended if work.state in ("FAILED", "LOST") or work in good]
        room = max(0, self._at_most - len(running))
        wanted = running + (kept[-room:] if room else [])
        for work in [one for one in self.lines if one not in wanted]:
            line = self.lines.pop(work)
            self._column.removeWidget(line)
            line.hide()
            line.deleteLater()
        for work in wanted:
            if work not in self.lines:
                self.lines[work] = JobLine(work, self._stop, self._dismiss)
                self._column.addWidget(self.lines[work])
            self.lines[work].refresh()
        self.setVisible(bool(self.lines))


def _tooltip(work: Work) -> str:
    if work.problem is not None:
        return work.problem.text
    lines = [str(event.get("text")) for event in work.events if event["event"] == "warning"]
    return "\n".join(lines) or work.title
