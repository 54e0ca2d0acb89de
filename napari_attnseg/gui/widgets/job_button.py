"""A button that starts a job, shows how far it is, and stops it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_attnseg.gui.words import time_left
from napari_attnseg.session import Work


class JobButton(QWidget):
    """Starts; while the job runs it reads Stop, with a bar and the time left below.

    Args:
        text: Of the button while nothing runs.
        start: Starts the job.
        stop: Asks it to stop.
        current: Returns the job that is running, or None.
        wide: Whether the button takes the whole width.
    """

    def __init__(
        self,
        text: str,
        start: Callable[[], None],
        stop: Callable[[], None],
        current: Callable[[], Work | None],
        *,
        wide: bool = False,
    ) -> None:
        super().__init__()
        self._text, self._start, self._stop, self._current = text, start, stop, current
        self._reason, self._tooltip = "", ""
        self.button = QPushButton(text)
        self.button.clicked.connect(lambda: self._pressed())
        self.bar, self.left = QProgressBar(), QLabel()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(5)
        self.left.setStyleSheet("font-size: 11px;")
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.button, 1 if wide else 0)
        row.addWidget(self.left)
        if not wide:
            row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.bar)
        self.refresh()

    def allow(self, reason: str, tooltip: str) -> None:
        """Let it be pressed unless there is a reason against; a running job can always stop."""
        self._reason, self._tooltip = reason, tooltip
        self.refresh()

    def refresh(self, work: object = None) -> None:
        """Show how far the job is; any job's change may be passed."""
        running = self._current()
        self.bar.setVisible(running is not None)
        if running is None:
            self.left.setText("")
            self.button.setText(self._text)
            self.button.setEnabled(not self._reason)
            self.button.setToolTip(self._reason or self._tooltip)
            return
        self.button.setText("Stop" if running.can_stop else "Stopping…")
        self.button.setEnabled(running.can_stop)
        self.button.setToolTip("Stop; what was made stays" if running.can_stop else "It is ending")
        self.left.setText(time_left(running.eta_seconds))
        if running.fraction is None:
            self.bar.setRange(0, 0)
        else:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * running.fraction))

    def _pressed(self) -> None:
        (self._start if self._current() is None else self._stop)()
