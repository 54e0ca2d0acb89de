"""Masks that a run predicts: asking for them, reading them, and what they say in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from psygnal import Signal

from napari_attnseg.session import files
from napari_attnseg.session.background import Background
from napari_attnseg.session.cases import CaseDesk, OpenCase
from napari_attnseg.session.model import ModelDesk
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.work import Event, Work, WorkList
from napari_attnseg.volume import Volume, require_same_grid

UNSURE = 0.1
"""Entropy from which on a voxel counts as one whose class is open."""


@dataclass(frozen=True)
class PredictionView:
    """A prediction that can be shown.

    Args:
        case: Name of the case.
        run: The run that predicted it.
        labels: Label values on the grid of the case's image.
        probabilities: One channel a class with the background first, or None.
        uncertainty: Entropy, or None.
        volumes_ml: Volume of each class.
        before_ml: Volume of each class in the case's label, where there is one.
        warnings: Why the mask may be wrong, in sentences.
    """

    case: str
    run: RunInfo
    labels: Volume
    probabilities: Volume | None = None
    uncertainty: Volume | None = None
    volumes_ml: dict[int, float] = field(default_factory=dict)
    before_ml: dict[int, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class PredictionDesk:
    """Asks the staying child for masks and brings them back as volumes."""

    ready = Signal(object)
    changed = Signal()

    def __init__(
        self, background: Background, work: WorkList, cases: CaseDesk, model: ModelDesk, say: Any
    ) -> None:
        self._background, self._work, self._cases = background, work, cases
        self._model, self._say = model, say
        self.view: PredictionView | None = None
        cases.case_opened.connect(lambda _: self.show_existing())
        model.run_changed.connect(lambda _: self._run_changed())

    def why_not(self) -> str:
        """Return why the open case cannot be segmented now, or an empty string."""
        if self._model.run is None:
            return "Choose or train a model first."
        if self._cases.case is None:
            return "Open a case first."
        return "A case is being segmented." if self._work.running("predict") else ""

    def segment(
        self, names: Sequence[str], settings: dict[str, Any], *, overwrite: bool = True
    ) -> None:
        """Predict cases with the current run; each is shown when it is the open one."""
        project, run = self._cases.project, self._model.run
        if project is None or run is None or not names:
            return
        cases = [project.case(name) for name in names]
        inputs = [
            {"name": case.name, "images": {key: str(path) for key, path in case.images.items()}}
            for case in cases
        ]
        job = {
            "run": str(run.path),
            "inputs": inputs,
            "out": str(project.predictions_dir(run.id)),
            "settings": settings,
            "overwrite": overwrite,
        }
        title = f"Segmenting {names[0]}" if len(names) == 1 else f"Segmenting {len(names)} cases"
        self._work.start(
            "predict", job, title, on_event=lambda work, event: self._take(run, work, event)
        )
        self.changed.emit()

    def show_existing(self) -> None:
        """Show what the current run predicted for the open case earlier, if it did."""
        project, case, run = self._cases.project, self._cases.case, self._model.run
        self._set(None)
        if project is None or case is None or run is None:
            return

        def read() -> PredictionView | None:
            folder = Path(project.predictions_dir(run.id))
            facts = files.predicted(project, run.id).get(case.name)
            if facts is None or not (folder / str(facts.get("labels", "-"))).is_file():
                return None
            return read_prediction(case, run, facts, folder)

        self._background.run(f"reading the prediction of {case.name}", read, self._set_if_current)

    def use_as_draft(self) -> None:
        """Save the shown mask as the open case's draft labels."""
        case, view = self._cases.case, self.view
        if case is not None and view is not None and view.case == case.name:
            self._cases.save_label(case, view.labels.data[0], "draft")

    def _run_changed(self) -> None:
        if self.view is None or self.view.run != self._model.run:
            self.show_existing()

    def _take(self, run: RunInfo, work: Work, event: Event) -> None:
        if event["event"] == "case":
            self._take_case(run, event)
        elif event["event"] == "warning":
            self._say(str(event["text"]))
        elif event["event"] == "state":
            if work.has_ended:
                self._cases.refresh()
            self.changed.emit()

    def _take_case(self, run: RunInfo, event: Event) -> None:
        project, case = self._cases.project, self._cases.case
        if project is None:
            return
        facts = {key: value for key, value in event.items() if key not in ("event", "name")}
        name = str(event["name"])
        is_shown = case is not None and case.name == name

        def read() -> PredictionView | None:
            folder = Path(project.predictions_dir(run.id))
            noted = {**facts, "unsure": unsure(facts)}
            files.note_prediction(project, run.id, name, noted)
            return read_prediction(case, run, facts, folder) if is_shown and case else None

        self._background.run(f"reading the prediction of {name}", read, self._set_if_current)

    def _set_if_current(self, view: PredictionView | None) -> None:
        case = self._cases.case
        if view is not None and case is not None and view.case == case.name:
            self._set(view)

    def _set(self, view: PredictionView | None) -> None:
        self.view = view
        self.ready.emit(view)


def read_prediction(
    case: OpenCase, run: RunInfo, facts: dict[str, Any], folder: Path
) -> PredictionView:
    """Read the files of a prediction.

    Raises:
        GridMismatchError: If the mask is on another grid than the image.
    """
    from napari_attnseg.io import read_volume

    labels = read_volume(folder / facts["labels"], labels=True)
    require_same_grid(case.image.grid, labels.grid, names=("image", "prediction"))
    extra = {
        key: read_volume(folder / facts[key]) if facts.get(key) else None
        for key in ("probabilities", "uncertainty")
    }
    return PredictionView(
        case=case.name,
        run=run,
        labels=labels.replace(classes=run.classes),
        volumes_ml=class_volumes(labels, run.classes),
        before_ml={} if case.label is None else class_volumes(case.label, run.classes),
        warnings=tuple(facts.get("warnings", ())),
        **extra,
    )


def class_volumes(labels: Volume, classes: dict[int, str]) -> dict[int, float]:
    """Return the volume in mL of each class in a label map."""
    top = max(classes, default=0)
    flat = labels.data.reshape(-1)
    counts = np.bincount(flat[flat <= top].astype(np.int64), minlength=top + 1)
    return {value: float(counts[value] * labels.grid.voxel_volume_ml) for value in classes}


def unsure(facts: dict[str, Any]) -> float | None:
    """Return the mean entropy where the class is open or predicted, or None if not asked for."""
    if not facts.get("uncertainty"):
        return None
    from napari_attnseg.io import read_volume

    entropy = read_volume(Path(facts["uncertainty"])).data[0]
    labels = read_volume(Path(facts["labels"]), labels=True).data[0]
    region = entropy[(labels > 0) | (entropy > UNSURE)]
    return float(region.mean()) if region.size else 0.0
