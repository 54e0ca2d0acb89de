"""Let the window live while something is read that has to be waited for."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any, TypeVar, cast

from qtpy.QtCore import QEventLoop, QObject, Qt, Signal
from qtpy.QtWidgets import QApplication, QProgressDialog, QWidget

Result = TypeVar("Result")

SHOWN_AFTER_MS = 400


class _Steps(QObject):
    """Runs steps on a thread and tells of them in the window's."""

    done = Signal(int)
    ended = Signal()

    def __init__(self, steps: Generator[Any, None, Any]) -> None:
        super().__init__()
        self.result: Any = None
        self.error: BaseException | None = None
        self._steps = steps
        self._is_stopped = False

    def stop(self) -> None:
        self._is_stopped = True

    def run(self) -> None:
        try:
            while not self._is_stopped:
                step = next(self._steps)
                self.done.emit(int(100 * step.done // max(1, step.total)))
            self._steps.close()
        except StopIteration as end:
            self.result = end.value
        except Exception as error:  # noqa: BLE001 - raised again in the window's thread
            self.error = error
        self.ended.emit()


def wait_for(
    steps: Generator[Any, None, Result], doing: str, parent: QWidget | None = None
) -> Result | None:
    """Run steps to their end while the window stays alive, and return what they return.

    Whatever takes longer than a moment shows a dialog with progress, in which it can be stopped.

    Args:
        steps: They yield what has ``done`` and ``total``.
        doing: What the dialog says.
        parent: The window that waits.

    Returns:
        The result, or None if the person stopped it.
    """
    if QApplication.instance() is None:
        return _at_once(steps)
    work, loop = _Steps(steps), QEventLoop()
    dialog = QProgressDialog(doing, "Stop", 0, 100, parent)
    dialog.setWindowModality(Qt.WindowModality.ApplicationModal)
    dialog.setMinimumDuration(SHOWN_AFTER_MS)
    dialog.setAutoReset(False)
    dialog.canceled.connect(work.stop)
    work.done.connect(dialog.setValue)
    work.ended.connect(loop.quit)
    dialog.setValue(0)
    thread = threading.Thread(target=work.run, name="attnseg-waiting", daemon=True)
    thread.start()
    loop.exec()
    thread.join()
    dialog.close()
    dialog.deleteLater()
    if work.error is not None:
        raise work.error
    return cast("Result | None", work.result)


def _at_once(steps: Generator[Any, None, Result]) -> Result:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Result", end.value)
