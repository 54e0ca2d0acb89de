"""The session: one project, its cases, model, jobs and results, and no window."""

from __future__ import annotations

from collections.abc import Callable

from psygnal import Signal

from napari_attnseg.jobs import Runner as ChildRunner
from napari_attnseg.session.background import Background, Deliver, deliver_now
from napari_attnseg.session.cases import CaseDesk
from napari_attnseg.session.costs import QUIET_KINDS, CostDesk
from napari_attnseg.session.explanations import ExplanationDesk
from napari_attnseg.session.model import ModelDesk
from napari_attnseg.session.predictions import PredictionDesk
from napari_attnseg.session.problem import Problem
from napari_attnseg.session.scores import ScoreDesk
from napari_attnseg.session.training import TrainingDesk
from napari_attnseg.session.work import Runner, Work, WorkList


class Session:
    """What is going on, and everything that a person can ask for.

    Each desk does one kind of work and has its own signals. Signals are emitted where
    ``deliver`` runs functions: the window's thread, when there is a window.

    Args:
        deliver: Brings results to the thread that shows them.
        runner: Starts jobs; child processes unless a test says otherwise.
    """

    said = Signal(str)
    problem = Signal(object)

    def __init__(self, deliver: Deliver = deliver_now, runner: Runner | None = None) -> None:
        self.background = Background(deliver, self.report)
        self.work = WorkList(runner or ChildRunner(), deliver)
        self.cases = CaseDesk(self.background, self.say)
        self.model = ModelDesk(self.background, self.work, self.cases, self.say)
        self.costs = CostDesk(self.work, self.cases)
        shared = (self.background, self.work, self.cases, self.model)
        self.training = TrainingDesk(*shared, self.say)
        self.predictions = PredictionDesk(*shared, self.say)
        self.explanations = ExplanationDesk(*shared, self.say)
        self.scores = ScoreDesk(*shared, self.predictions)
        self.work.ended.connect(self._job_ended)

    def say(self, text: str) -> None:
        """Tell in the status line what just happened."""
        self.said.emit(text)

    def report(self, problem: Problem) -> None:
        """Show what went wrong, until the person has read it."""
        self.problem.emit(problem)

    def on_change(self, function: Callable[[], None]) -> None:
        """Call a function whenever what can be done may have changed."""
        signals = (
            self.cases.project_opened,
            self.cases.rows_changed,
            self.cases.case_opened,
            self.model.run_changed,
            self.model.runs_changed,
            self.training.changed,
            self.predictions.changed,
            self.predictions.ready,
            self.explanations.changed,
            self.scores.changed,
            self.scores.ready,
            self.work.ended,
        )
        for signal in signals:
            signal.connect(lambda *_: function())

    def close(self) -> None:
        """Finish what is being saved and end the jobs, as the window closes."""
        self.background.finish()
        self.work.close()

    def _job_ended(self, work: Work) -> None:
        if work.problem is not None and not (work.quiet and work.kind in QUIET_KINDS):
            self.report(work.problem)
        elif work.state == "LOST":
            text = f"{work.title} ended unexpectedly. What was saved is kept."
            self.report(Problem(text))
        elif not work.quiet:
            words = {"DONE": "done", "STOPPED": "stopped, kept what was reached"}
            self.say(f"{work.title}: {words.get(work.state, work.state.lower())}.")
        if work.quiet:
            self.work.dismiss(work)
