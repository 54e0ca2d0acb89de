"""Short work off the window's thread: reading volumes, scanning folders, saving labels."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from napari_attnseg.session.problem import Problem, problem_of

logger = logging.getLogger(__name__)

Deliver = Callable[[Callable[[], None]], None]
"""Runs a function where results may be shown: the window's thread, or here and now."""


def deliver_now(function: Callable[[], None]) -> None:
    """Run a result's function at once, on the thread that has it."""
    function()


class Background:
    """Runs functions one after another on a thread of its own and delivers what they return.

    One thread keeps the order in which a person asked, so that saving a label and opening the
    next case cannot overtake each other.

    Args:
        deliver: Brings results to the thread that shows them.
        on_problem: Called, there too, with what went wrong when a call gave no handler.
    """

    def __init__(self, deliver: Deliver, on_problem: Callable[[Problem], None]) -> None:
        self._deliver = deliver
        self._on_problem = on_problem
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._busy = 0

    @property
    def is_idle(self) -> bool:
        """Whether everything asked for has been done and delivered."""
        return self._busy == 0

    def run(
        self,
        doing: str,
        function: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        failed: Callable[[Problem], None] | None = None,
    ) -> None:
        """Call a function in the background.

        Args:
            doing: What it does, for the sentence if it fails.
            function: Called without arguments on the background thread.
            then: Called with the result where results may be shown.
            failed: Called with the problem instead of the common handler.
        """
        self._busy += 1
        self._work.put(lambda: self._one(doing, function, then, failed or self._on_problem))
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="attnseg-background")
            self._thread.daemon = True
            self._thread.start()

    def tell(self, function: Callable[[], None]) -> None:
        """Call a function where results may be shown; for work that tells how far it is."""
        self._deliver(function)

    def report(self, problem: Problem) -> None:
        """Show a problem through the common handler."""
        self._on_problem(problem)

    def finish(self, timeout: float | None = 10.0) -> None:
        """Wait until everything asked for is done, as before the window closes."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join(timeout)
            self._thread = None

    def _loop(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _one(
        self,
        doing: str,
        function: Callable[[], Any],
        then: Callable[[Any], None] | None,
        failed: Callable[[Problem], None],
    ) -> None:
        try:
            result = function()
        except Exception as error:
            logger.info("Failed while %s", doing, exc_info=True)
            problem = problem_of(error, doing)
            self._deliver(lambda: self._hand_over(failed, problem))
        else:
            self._deliver(lambda: self._hand_over(then, result))

    def _hand_over(self, function: Callable[[Any], None] | None, value: Any) -> None:
        self._busy -= 1
        if function is not None:
            function(value)
