"""Which network is used: a trained run, or a new one and what it would cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_attnseg.config import ModelConfig
from napari_attnseg.session.background import Background
from napari_attnseg.session.cases import CaseDesk
from napari_attnseg.session.runs import (
    RunInfo,
    choose_run,
    chosen_run,
    network_title,
    read_run,
    read_runs,
)
from napari_attnseg.session.work import Event, Work, WorkList


class ModelDesk:
    """The catalogue of networks, the wanted one, its description, and the trained runs."""

    catalogue_changed = Signal()
    config_changed = Signal(object)
    described = Signal(object)
    runs_changed = Signal()
    run_changed = Signal(object)

    def __init__(self, background: Background, work: WorkList, cases: CaseDesk, say: Any) -> None:
        self._background, self._work, self._cases, self._say = background, work, cases, say
        self.catalogue: dict[str, Any] = {}
        self.device: dict[str, Any] = {}
        self.choices: dict[str, Any] = {}
        self.config = ModelConfig(preset="plan")
        self.description: dict[str, Any] | None = None
        self.description_problem = ""
        self.runs: tuple[RunInfo, ...] = ()
        self.run: RunInfo | None = None
        self.run_description: dict[str, Any] | None = None
        self._asked: tuple[ModelConfig, bool] | None = None
        cases.project_opened.connect(self._project_opened)
        cases.rows_changed.connect(self.describe)

    def load_catalogue(self) -> None:
        """Ask a child for what can be chosen and for the machine; once is enough."""
        if self.catalogue or self._work.running("models"):
            return
        questions = (
            ("models", "Reading the networks", "catalogue"),
            ("device", "Looking at the machine", "device"),
            ("choices", "Reading what can be chosen", "choices"),
        )
        for kind, title, answer in questions:
            self._work.start(kind, {}, title, on_event=self._taker(answer), quiet=True)

    def entries(self, kind: str) -> list[tuple[str, str, str]]:
        """Return name, title and summary of the ``losses`` or ``methods``, the default first."""
        return [(one["name"], one["title"], one["summary"]) for one in self.choices.get(kind, ())]

    def choose(self, **changes: Any) -> None:
        """Change the wanted network and have it described."""
        self.config = self.config.replace(**changes)
        self.config_changed.emit(self.config)
        self.describe()

    def wanted(self) -> ModelConfig:
        """Return the wanted network, sized for the project's images and classes."""
        worklist = self._cases.worklist
        if not worklist.rows:
            return self.config
        return self.config.replace(
            in_channels=max(1, len(worklist.channels)), out_channels=len(worklist.classes) + 1
        )

    def describe(self) -> None:
        """Have the wanted network built in a child and described."""
        config = self.wanted()
        # The first label changes what the plan makes of a network.
        has_labels = any(row.has_label for row in self._cases.rows)
        if (config, has_labels) == self._asked:
            return
        self._asked = (config, has_labels)
        self.description, self.description_problem = None, ""
        self.described.emit(None)
        self._work.start(
            "describe_model",
            {"model": config.to_dict(), **self.sized_by()},
            f"Describing {self.title(config)}",
            on_event=lambda work, event: self._take_description(config, work, event),
            quiet=True,
        )

    def reason_against(self, backbone: str, attention: str, dims: int) -> str | None:
        """Return why a pair makes no sense, or None if it does."""
        pair = self._pair(backbone, attention, dims)
        if attention == "none" or not self.catalogue:
            return None
        if pair is None:
            return f"{attention} does not work in {dims} dimensions with this backbone."
        if pair.get("sites"):
            return None
        return str(pair.get("reason") or f"{attention} has no place in this backbone.")

    def sites(self, backbone: str, attention: str, dims: int) -> tuple[str, ...]:
        """Return where an attention module can sit in a backbone."""
        pair = self._pair(backbone, attention, dims)
        return tuple(pair.get("sites") or ()) if pair is not None else ()

    def part(self, kind: str, name: str) -> dict[str, Any]:
        """Return what the catalogue says of one of its ``backbones`` or ``attentions``."""
        parts = self.catalogue.get(kind, ())
        return next((part for part in parts if part["name"] == name), {"name": name})

    def title(self, config: ModelConfig) -> str:
        """Return a network in a clinician's words, such as ``3D U-Net + SE``."""
        backbone = self.part("backbones", config.backbone).get("title")
        attention = self.part("attentions", config.attention).get("title")
        return network_title(config, backbone, attention)

    def _pair(self, backbone: str, attention: str, dims: int) -> dict[str, Any] | None:
        for pair in self.catalogue.get("pairs", ()):
            is_meant = (pair["backbone"], pair["attention"]) == (backbone, attention)
            if is_meant and dims in _dims(pair.get("dims")):
                return dict(pair)
        return None

    def use_run(self, run_id: str | None) -> None:
        """Work with a trained run from now on."""
        run = next((one for one in self.runs if one.id == run_id), None)
        if run is None and run_id is not None:
            # It has just been made, and the list is from before.
            self.refresh_runs(run_id)
        else:
            self._set_run(run)

    def load_file(self, path: Path) -> None:
        """Take a run from a folder, or a file in it, outside the project."""
        folder = path if path.is_dir() else path.parent

        def read() -> RunInfo:
            run = read_run(folder)
            if run is None or not run.has_weights:
                raise ValueError(
                    f"{folder.name} is not a trained run: it lacks config.json or "
                    "weights.safetensors. Choose a folder such as project/runs/001."
                )
            return run

        self._background.run("loading the run", read, self._add_run)

    def refresh_runs(self, then_use: str | None = None) -> None:
        """Read the project's runs again, and optionally work with one of them."""
        project = self._cases.project
        if project is None:
            return

        def read() -> tuple[tuple[RunInfo, ...], str | None]:
            return read_runs(project), then_use or chosen_run(project)

        self._background.run("reading the runs", read, lambda found: self._set_runs(*found))

    def _project_opened(self) -> None:
        self._asked = None
        self.refresh_runs()

    def sized_by(self) -> dict[str, Any]:
        """Return what sizes a new network, as the settings of a job: the project, if there is."""
        project = self._cases.project
        return {} if project is None else {"project": str(project.path)}

    def _taker(self, answer: str) -> Callable[[Work, Event], None]:
        def take(work: Work, event: Event) -> None:
            if event["event"] == "result":
                setattr(self, answer, event)
                self.catalogue_changed.emit()

        return take

    def _take_description(self, config: ModelConfig, work: Work, event: Event) -> None:
        if (
            self._asked is None
            or config != self._asked[0]
            or event["event"] not in ("result", "error")
        ):
            return
        if event["event"] == "result":
            self.description = event
        else:
            self.description_problem = str(event.get("text", ""))
        self.described.emit(self.description)

    def _add_run(self, run: RunInfo) -> None:
        self.runs = (*(one for one in self.runs if one.path != run.path), run)
        self.runs_changed.emit()
        self._set_run(run)
        self._say(f"Loaded {run.title}.")

    def _set_runs(self, runs: tuple[RunInfo, ...], wanted: str | None) -> None:
        self.runs = runs
        self.runs_changed.emit()
        usable = [run for run in runs if run.has_weights]
        by_id = {run.id: run for run in usable}
        self._set_run(by_id.get(wanted or "", usable[-1] if usable else None))

    def _set_run(self, run: RunInfo | None) -> None:
        self.run, self.run_description = run, None
        self._cases.run_id = run.id if run is not None else None
        project = self._cases.project
        if project is not None and run is not None:
            self._background.run("remembering the run", lambda: choose_run(project, run.id))
        self.run_changed.emit(run)
        self._cases.refresh()
        if run is not None:
            settings = {"model": run.model.to_dict(), "run": str(run.path)}
            self._work.start(
                "describe_model",
                settings,
                f"Reading run {run.short}",
                on_event=lambda _, event: self._take_run_description(run, event),
                quiet=True,
            )

    def _take_run_description(self, run: RunInfo, event: Event) -> None:
        if self.run is run and event["event"] == "result":
            self.run_description = event
            self.run_changed.emit(run)


def _dims(value: Any) -> tuple[int, ...]:
    if value is None:
        return (2, 3)
    return (value,) if isinstance(value, int) else tuple(value)
