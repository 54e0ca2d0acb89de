"""Each panel as a dock widget of its own, for people who arrange their own window."""

from __future__ import annotations

import napari
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_attnseg.gui.bench import bench_of
from napari_attnseg.gui.panel import PANELS, Panel, scrolling
from napari_attnseg.gui.widgets.job_lines import JobLines
from napari_attnseg.gui.widgets.messages import Messages


class PanelDock(QWidget):
    """One panel with the jobs and what just happened; panels of a viewer share one session.

    Args:
        viewer: The viewer that it works in.
    """

    panel_name = ""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.bench = bench_of(viewer)
        session = self.bench.session
        self.panel: Panel = PANELS[self.panel_name](self.bench)
        self.messages = Messages()
        self.jobs = JobLines(session.work.stop, session.work.dismiss)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(scrolling(self.panel), 1)
        column.addWidget(self.jobs)
        column.addWidget(self.messages)
        session.said.connect(self.messages.say)
        session.problem.connect(self.messages.report)
        session.work.changed.connect(lambda _: self.jobs.refresh(session.work.lines))
        session.on_change(self.refresh)
        self.refresh()
        session.model.load_catalogue()

    def refresh(self) -> None:
        """Enable the panel, or say why it cannot be used yet."""
        reason = self.panel.why_not()
        self.panel.setEnabled(not reason)
        self.panel.setToolTip(reason)
        if reason:
            self.messages.say(reason)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take part in the main window as soon as there is one."""
        super().showEvent(event)
        self.bench.attach(self.window())


class CasesDock(PanelDock):
    """The worklist."""

    panel_name = "cases"


class ModelDock(PanelDock):
    """The choice of the network."""

    panel_name = "model"


class TrainDock(PanelDock):
    """Training."""

    panel_name = "train"


class SegmentDock(PanelDock):
    """Masks."""

    panel_name = "segment"


class ExplainDock(PanelDock):
    """Maps of what the network looked at."""

    panel_name = "explain"


class EvaluateDock(PanelDock):
    """Dice, case by case."""

    panel_name = "evaluate"
