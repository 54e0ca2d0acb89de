"""Maps of what a run looked at: asking for them, finding earlier ones, and writing pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_attnseg.session.attention import AttentionView, read_attention
from napari_attnseg.session.background import Background
from napari_attnseg.session.case_jobs import CaseJobs
from napari_attnseg.session.cases import CaseDesk
from napari_attnseg.session.checks import CheckDesk
from napari_attnseg.session.earlier import EarlierMap, copy_map, earlier_maps
from napari_attnseg.session.files import read_json
from napari_attnseg.session.map_comparison import MapComparisonDesk
from napari_attnseg.session.maps import MapView, layer_title, read_gate, read_map
from napari_attnseg.session.model import ModelDesk
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.targets import TargetChoice, target_settings, write_region
from napari_attnseg.session.work import Event, Work, WorkList

REMARKS = {
    "decoder0": "≈ the segmentation itself: the last layer repeats the mask.",
    "encoder0": "Edges and brightness, hardly any context.",
}
"""What to know about the layers at full resolution."""


class ExplanationDesk:
    """Asks the staying child for maps and brings them back as volumes.

    `checks` says how far a map can be trusted, `comparison` lays two beside each other.
    """

    ready = Signal(object)
    attention_ready = Signal(object)
    effects_ready = Signal(object)
    earlier_changed = Signal()
    written = Signal(str)
    changed = Signal()

    def __init__(
        self, background: Background, work: WorkList, cases: CaseDesk, model: ModelDesk, say: Any
    ) -> None:
        self._jobs = CaseJobs(background, work, cases, model, say)
        self._cases, self._model, self._say = cases, model, say
        self.checks = CheckDesk(self._jobs)
        self.comparison = MapComparisonDesk(self._jobs, self.methods)
        self.view: MapView | None = None
        self.attention: AttentionView | None = None
        self.earlier: tuple[EarlierMap, ...] = ()
        self.works: dict[str, Work] = {}
        cases.case_opened.connect(lambda _: self._start_anew())
        cases.project_opened.connect(self._project_opened)
        model.run_changed.connect(lambda _: self.find_earlier())

    def why_not(self) -> str:
        """Return why nothing can be explained now, or an empty string."""
        return self._jobs.why_not() or ("A map is being made." if self.running("map") else "")

    def running(self, what: str) -> Work | None:
        """Return the job of a kind of question, such as ``map``, while it has not ended."""
        work = self.works.get(what)
        return work if work is not None and not work.has_ended else None

    def stop(self, what: str) -> None:
        """Ask the job of a kind of question to give back what it has."""
        work = self.running(what)
        if work is not None:
            self._jobs.work.stop(work)

    def methods(self) -> list[tuple[str, str, str]]:
        """Return name, title and summary of the methods, the default first; empty until known."""
        return self._model.entries("methods")

    def method_facts(self, name: str) -> dict[str, Any]:
        """Return what the child tells of a method besides, such as its options."""
        found = (one for one in self._model.choices.get("methods", ()) if one["name"] == name)
        return dict(next(found, {}))

    def layer_remark(self, name: str | None) -> str:
        """Return what to know about maps of a layer, or an empty string."""
        described = self._model.run_description or {}
        remarks = described.get("layer_remarks") or {}
        return str(remarks.get(name) or REMARKS.get(name or "", ""))

    def layers(self) -> list[tuple[str, str]]:
        """Return names of the layers that can be explained and what they are in menus."""
        described, run = self._model.run_description, self._model.run
        if described is None or run is None:
            return []
        strides = {one["name"]: one.get("stride_dhw") for one in described.get("levels", ())}
        return [
            (name, layer_title(name, strides.get(name), run.spacing_dhw))
            for name in described.get("layers", ())
        ]

    def explain(
        self,
        target: TargetChoice,
        method: str,
        layer: str | None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Ask why the run predicted a class where it did."""
        case, run = self._cases.case, self._model.run
        if case is None or run is None:
            return
        settings = {"method": method, "layer": layer, "options": options or {}}
        if target.region is None:
            self._explain(target, settings, None)
            return
        region, folder = target.region, self._jobs.folder(run)
        self._jobs.read(
            "saving the region",
            lambda: write_region(case, region, folder),
            lambda path: self._explain(target, settings, path),
        )

    def look_at_attention(self) -> None:
        """Ask what every attention module did for the open case."""
        none = {"attention": True, "target": None, "method": None, "layer": None}
        self._start("attention", "explain", none, "Looking at attention in")

    def feature(self, name: str, channel: int) -> None:
        """Ask for the feature behind a channel weight, times that weight, in its place."""
        settings = {"name": name, "channel": channel}
        self._start("feature", "channel", settings, f"Reading channel {channel} in")

    def attend(self, name: str, at_ras: tuple[float, ...], direction: str) -> None:
        """Ask what a voxel attends to (``row``) or who attends to it (``column``)."""
        settings = {"name": name, "at": list(at_ras), "direction": direction}
        self._start("attend", "attend", settings, "Reading what a voxel attends to in")

    def measure_effects(self) -> None:
        """Ask what changes when each attention module's gate is replaced by its mean."""
        self._start("effects", "effects", {}, "Measuring the effect of attention in")

    def show_gate(self, name: str) -> None:
        """Read the volume of a recorded attention map and show it."""
        view = self.attention
        item = next((one for one in view.items if one.name == name), None) if view else None
        if view is None or item is None or item.path is None:
            return
        path, about = item.path, item.about
        self._jobs.read(
            "reading the attention map",
            lambda: read_gate(view.run, view.case, name, path, about),
            self._show,
        )

    def show_earlier(self, map_path: str) -> None:
        """Show a map that was made before, with its check."""
        run, case = self._model.run, self._cases.case
        if run is None or case is None:
            return
        titles = {name: title for name, title, _ in self.methods()}

        def read() -> MapView:
            info = read_json(Path(map_path.removesuffix(".nii.gz") + ".json"))
            return read_map(run, case.name, {"path": map_path, "info": info}, titles)

        self._jobs.read("reading the map", read, self._show)

    def find_earlier(self) -> None:
        """Look for the maps that were made of the open case before."""
        run, case = self._model.run, self._cases.case
        if run is None or case is None:
            return
        folder, titles = self._jobs.folder(run), {n: title for n, title, _ in self.methods()}
        self._jobs.read(
            "looking for earlier maps",
            lambda: earlier_maps(folder, case.name, run, titles),
            self._set_earlier,
        )

    def export(self, folder: Path, *, volume: bool, png: bool, film: bool) -> None:
        """Write the shown map into a folder: as it is, as pictures, as a film."""
        view, case = self.view, self._cases.case
        if view is None or view.path is None or case is None or self._cases.project is None:
            return
        path = view.path
        if volume:
            self._jobs.read(
                "copying the map",
                lambda: copy_map(path, folder),
                lambda files: self.written.emit(", ".join(file.name for file in files)),
            )
        if png or film:
            labels = Path(self._cases.project.predictions_dir(view.run.id))
            labels = labels / f"{case.name}.nii.gz"
            settings: dict[str, Any] = {"maps": [str(path)], "out": str(folder)}
            settings["labels"] = str(labels) if labels.is_file() else None
            settings.update(
                png=png, film=film, overwrite=False, **{"class": view.info.get("class")}
            )
            self._start("picture", "picture", settings, "Writing pictures of")

    def _explain(
        self, target: TargetChoice, settings: dict[str, Any], region: Path | None
    ) -> None:
        asked = target_settings(target, region, self._jobs.reference())
        asked = {**asked, **settings, "attention": False}
        self._start("map", "explain", asked, "Explaining")

    def _start(self, what: str, kind: str, settings: dict[str, Any], title: str) -> None:
        case, run = self._cases.case, self._model.run
        if case is None or run is None:
            return
        # In place before the first event comes.
        work = self._jobs.start(
            kind,
            settings,
            f"{title} {case.name}",
            lambda event: self._take(what, run, case.name, event),
        )
        if work is not None:
            self.works[what] = work
        self.changed.emit()

    def _take(self, what: str, run: RunInfo, case: str, event: Event) -> None:
        kind = event["event"]
        if kind == "map":
            titles = {name: title for name, title, _ in self.methods()}
            read = read_attention if what == "attention" else None
            self._jobs.read(
                "reading the map",
                lambda: read(run, case, event) if read else read_map(run, case, event, titles),
                lambda found: self._hand_over(run, case, found),
            )
        elif kind == "effects":
            if self._is_open(case):
                self.effects_ready.emit(event)
        elif kind == "file":
            self.written.emit(Path(event["path"]).name)
        elif kind == "state":
            self.changed.emit()

    def _is_open(self, case: str) -> bool:
        return self._cases.case is not None and self._cases.case.name == case

    def _hand_over(self, run: RunInfo, case: str, found: MapView | AttentionView) -> None:
        if not self._is_open(case) or self._model.run is None or self._model.run.id != run.id:
            return
        if isinstance(found, AttentionView):
            self.attention = found
            self.attention_ready.emit(found)
        else:
            self._show(found)
            self.find_earlier()

    def _show(self, view: MapView) -> None:
        self.view = view
        self.ready.emit(view)
        self.checks.use(view)

    def _set_earlier(self, found: tuple[EarlierMap, ...]) -> None:
        self.earlier = found
        self.earlier_changed.emit()

    def _project_opened(self) -> None:
        # The same project is opened again where cases are added to it.
        if self._cases.case is None:
            self._start_anew()

    def _start_anew(self) -> None:
        self.view = self.attention = None
        self.earlier = ()
        self.checks.use(None)
        self.comparison.clear()
        self.earlier_changed.emit()
        self.find_earlier()
