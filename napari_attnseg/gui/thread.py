"""Brings results from other threads to the window's thread."""

from __future__ import annotations

import logging
from collections.abc import Callable

from qtpy.QtCore import QObject, Qt, Signal

logger = logging.getLogger(__name__)


class WindowThread(QObject):
    """Runs functions, handed over from any thread, one after another in the window's thread."""

    _handed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._is_open = True
        self._handed.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def deliver(self, function: Callable[[], None]) -> None:
        """Run a function in the window's thread, soon."""
        if not self._is_open:
            return
        try:
            self._handed.emit(function)
        except RuntimeError:
            # Qt has deleted its side while a thread was still at work: nobody looks any more.
            logger.info("A result came after the window had closed")

    def close(self) -> None:
        """Take nothing more."""
        self._is_open = False

    def _run(self, function: Callable[[], None]) -> None:
        if self._is_open:
            function()
