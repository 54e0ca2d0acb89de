"""Short jobs about the open case and the run in use, for the desks that explain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_attnseg.session.background import Background
from napari_attnseg.session.cases import CaseDesk
from napari_attnseg.session.model import ModelDesk
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.work import Event, Work, WorkList

Take = Callable[[Event], None]


class CaseJobs:
    """Starts jobs with what they all need, and tells whether they can be started.

    Args:
        background: Reads what the jobs write.
        work: Starts jobs.
        cases: Knows the open case.
        model: Knows the run in use.
        say: Tells in the status line.
    """

    def __init__(
        self, background: Background, work: WorkList, cases: CaseDesk, model: ModelDesk, say: Any
    ) -> None:
        self.background, self.work = background, work
        self.cases, self.model, self.say = cases, model, say

    def why_not(self) -> str:
        """Return why nothing can be asked about the open case, or an empty string."""
        if self.model.run is None:
            return "Choose or train a model first."
        return "" if self.cases.case is not None else "Open a case first."

    def images(self) -> dict[str, Any]:
        """Return the open case's name and the files of its images.

        Raises:
            ValueError: If no case is open.
        """
        project, case = self.cases.project, self.cases.case
        if project is None or case is None:
            raise ValueError("Open a case first.")
        files = {key: str(path) for key, path in project.case(case.name).images.items()}
        return {"name": case.name, "images": files}

    def reference(self) -> Path | None:
        """Return the file of the open case's label, or None."""
        project, case = self.cases.project, self.cases.case
        if project is None or case is None:
            return None
        found = project.case(case.name)
        source = getattr(found, "draft", None) or found.label
        return None if source is None else Path(source)

    def folder(self, run: RunInfo, weights: str = "best") -> Path:
        """Return where a run's maps are written.

        Raises:
            ValueError: If no project is open.
        """
        if self.cases.project is None:
            raise ValueError("Open a project first.")
        name = "maps" if weights == "best" else f"maps_{weights}"
        return Path(self.cases.project.predictions_dir(run.id)) / name

    def start(
        self,
        kind: str,
        settings: dict[str, Any],
        title: str,
        take: Take,
        run: RunInfo | None = None,
    ) -> Work | None:
        """Start a job about the open case; returns None where there is no case or no run."""
        run = run or self.model.run
        case = self.cases.case
        if run is None or case is None or self.cases.project is None:
            return None
        common = {"run": str(run.path), "input": self.images(), "out": str(self.folder(run))}

        def hear(work: Work, event: Event) -> None:
            if event["event"] == "warning":
                self.say(str(event["text"]))
            take(event)

        return self.work.start(kind, {**common, **settings}, title, on_event=hear)

    def read(self, doing: str, function: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Read in the background, and hand over only while the same case is open."""
        name = self.cases.case.name if self.cases.case is not None else None

        def hand_over(found: Any) -> None:
            case = self.cases.case
            if case is not None and case.name == name:
                then(found)

        self.background.run(doing, function, hand_over)
