"""Maps of what a run looked at: asking for them and reading them with their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_attnseg.session.background import Background
from napari_attnseg.session.cases import CaseDesk
from napari_attnseg.session.files import read_json
from napari_attnseg.session.model import ModelDesk
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.work import Event, Work, WorkList
from napari_attnseg.volume import Volume

TARGETS = {"class": "the whole structure"}


@dataclass(frozen=True)
class MapView:
    """A map that can be shown, or the sentence that says why there is none.

    Args:
        case: Name of the case.
        run: The run that was explained.
        title: What it is, such as ``HiResCAM anterior @ decoder 2 (run 12)``.
        volume: Raw values on the network's own grid, or None.
        info: What was written beside it.
        reason: Why there is no map, in a sentence.
        is_signed: Whether negative values mean the opposite of positive ones.
    """

    case: str
    run: RunInfo
    title: str
    volume: Volume | None
    info: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    is_signed: bool = True
    caption: str = ""


@dataclass(frozen=True)
class AttentionItem:
    """One recorded attention map: a volume to overlay, or numbers for a strip."""

    name: str
    kind: str
    values: tuple[float, ...] = ()
    path: Path | None = None


@dataclass(frozen=True)
class AttentionView:
    """Everything that the attention modules did for one case."""

    case: str
    run: RunInfo
    items: tuple[AttentionItem, ...]


class ExplanationDesk:
    """Asks the staying child for maps and brings them back as volumes."""

    ready = Signal(object)
    attention_ready = Signal(object)
    changed = Signal()

    def __init__(
        self, background: Background, work: WorkList, cases: CaseDesk, model: ModelDesk, say: Any
    ) -> None:
        self._background, self._work, self._cases = background, work, cases
        self._model, self._say = model, say

    def why_not(self) -> str:
        """Return why nothing can be explained now, or an empty string."""
        if self._model.run is None:
            return "Choose or train a model first."
        if self._cases.case is None:
            return "Open a case first."
        return "A map is being made." if self._work.running("explain") else ""

    def methods(self) -> list[tuple[str, str, str]]:
        """Return name, title and summary of the methods, the default first; empty until known."""
        return self._model.entries("methods")

    def explain(self, target: int, method: str, layer: str | None) -> None:
        """Ask why the run predicted a class where it did."""
        self._start({"target": target, "method": method, "layer": layer, "attention": False})

    def look_at_attention(self) -> None:
        """Ask what every attention module did for the open case."""
        self._start({"attention": True, "target": None, "method": None, "layer": None})

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

    def show_attention(self, item: AttentionItem, view: AttentionView) -> None:
        """Read the volume of a spatial attention map and show it."""
        path = item.path
        if path is None:
            return

        def read() -> MapView:
            from napari_attnseg.io import read_volume

            caption = f"{item.name}, attention weights, run {view.run.short}"
            return MapView(
                view.case,
                view.run,
                f"{item.name} (run {view.run.short})",
                read_volume(path),
                info={"kind": item.kind},
                is_signed=False,
                caption=caption,
            )

        self._background.run("reading the attention map", read, self.ready.emit)

    def _start(self, settings: dict[str, Any]) -> None:
        project, run, case = self._cases.project, self._model.run, self._cases.case
        if project is None or run is None or case is None:
            return
        images = {key: str(path) for key, path in project.case(case.name).images.items()}
        out = Path(project.predictions_dir(run.id)) / "maps"
        job = {
            "run": str(run.path),
            "input": {"name": case.name, "images": images},
            "out": str(out),
            **settings,
        }
        what = "Looking at attention in" if settings["attention"] else "Explaining"
        self._work.start(
            "explain",
            job,
            f"{what} {case.name}",
            on_event=lambda work, event: self._take(run, case.name, work, event),
        )
        self.changed.emit()

    def _take(self, run: RunInfo, case: str, work: Work, event: Event) -> None:
        if event["event"] == "map":
            titles = {name: title for name, title, _ in self.methods()}
            self._background.run(
                "reading the map", lambda: read_map(run, case, event, titles), self._hand_over
            )
        elif event["event"] == "warning":
            self._say(str(event["text"]))
        elif event["event"] == "state":
            self.changed.emit()

    def _hand_over(self, view: MapView | AttentionView) -> None:
        case = self._cases.case
        if case is None or case.name != view.case:
            return
        signal = self.attention_ready if isinstance(view, AttentionView) else self.ready
        signal.emit(view)


def read_map(
    run: RunInfo, case: str, event: Event, titles: Mapping[str, str]
) -> MapView | AttentionView:
    """Read what a ``map`` event speaks of; ``titles`` are those of the methods by name."""
    from napari_attnseg.io import read_volume

    info = event.get("info") or {}
    if "numbers" in info or info.get("kind") == "attention":
        return read_attention(run, case, info)
    value = int(info.get("class", 0))
    name = run.classes.get(value, f"class {value}")
    method = titles.get(str(info.get("method")), str(info.get("method")))
    if event.get("path") is None:
        reason = str(
            info.get("reason") or f"Nothing was predicted as {name}, so there is no map for it."
        )
        return MapView(case, run, f"{method} {name}", None, info, reason)
    layer = str(info.get("layer"))
    title = f"{method} {name} @ {layer_words(layer)} (run {run.short})"
    where = layer_title(layer, info.get("stride_dhw"), run.spacing_dhw)
    kind = str((info.get("target") or {}).get("kind", "class"))
    target = TARGETS.get(kind, kind)
    caption = f"{method}, {name} ({target}), {where}, run {run.short}"
    return MapView(case, run, title, read_volume(event["path"]), info, caption=caption)


def read_attention(run: RunInfo, case: str, info: dict[str, Any]) -> AttentionView:
    """Return the list of recorded attention maps with the numbers written beside them."""
    numbers = info.get("numbers")
    if isinstance(numbers, str):
        numbers = read_json(Path(numbers))
    items = [
        AttentionItem(name, str(one.get("kind", "")), _flat(one.get("mean")), _path(one))
        for name, one in (numbers or {}).items()
    ]
    return AttentionView(case, run, tuple(items))


def layer_words(name: str) -> str:
    """Return ``decoder 2`` for ``decoder2``."""
    return name.rstrip("0123456789") + "".join(
        f" {number}" for number in [name[len(name.rstrip("0123456789")) :]] if number
    )


def layer_title(name: str, stride_dhw: Any, spacing_dhw: Any) -> str:
    """Return a layer with the size of its cells, such as ``decoder 2 · 4 mm``."""
    if not stride_dhw or not spacing_dhw:
        return layer_words(name)
    cells = [stride * mm for stride, mm in zip(stride_dhw, spacing_dhw, strict=True)]
    if max(cells) - min(cells) < 0.05 * max(cells):
        return f"{layer_words(name)} · {cells[0]:.2g} mm"
    return f"{layer_words(name)} · " + " x ".join(f"{mm:.2g}" for mm in cells) + " mm"


def _flat(values: Any) -> tuple[float, ...]:
    return tuple(float(one) for one in values) if isinstance(values, list) else ()


def _path(one: dict[str, Any]) -> Path | None:
    return Path(one["path"]) if one.get("path") else None
