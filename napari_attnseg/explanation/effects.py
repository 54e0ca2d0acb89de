"""How much each attention module matters: what changes when it tells nothing apart."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from napari_attnseg import __version__
from napari_attnseg.config import PredictConfig
from napari_attnseg.explanation.gates import (
    UNUSED,
    WAYS,
    GateStatistics,
    Passed,
    attention_sites,
    passing,
    replaced,
)
from napari_attnseg.explanation.outcome import Outcome
from napari_attnseg.explanation.prepared import Prepared, prepare
from napari_attnseg.inference import Run, WindowReport
from napari_attnseg.inference.device import precision_context
from napari_attnseg.inference.predict import on_device
from napari_attnseg.inference.sliding import (
    ShouldStop,
    evaluating,
    forward_window,
    never,
)
from napari_attnseg.inference.window import Canvas
from napari_attnseg.models.recording import RecordedMap, record
from napari_attnseg.models.sites import AttentionSite
from napari_attnseg.volume import Volume

GATE_KINDS = ("channel", "spatial", "slice", "axis")


@dataclass(eq=False)
class _Seen:
    """What one module did over all windows."""

    site: AttentionSite
    squares: list[float] = field(default_factory=lambda: [0.0, 0.0])
    gates: GateStatistics = field(default_factory=GateStatistics)
    maps: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    first: Tensor | None = None

    @property
    def relative_change(self) -> float:
        """Size of what it added to what passed, over the size of that."""
        added, whole = self.squares
        return (added / whole) ** 0.5 if whole else 0.0


def effect_steps(
    prepared: Prepared, *, should_stop: ShouldStop = never
) -> Generator[WindowReport, None, dict[str, Any] | None]:
    """Yield after every window, and return what each attention module does, or None if stopped.

    Returns:
        ``sites``, the strongest first, each with ``relative_change``, ``|out - x| / |x|``;
        ``gate``, mean, deviation and entropy; and, ``with_mean`` of its gates and
        ``with_identity`` in its place, ``dice`` of the mask with the unchanged mask, ``delta``,
        the change of each class's mean probability where the unchanged network sees it, and
        ``score``, the largest of these. ``effect`` is the score with the mean, or with the
        identity where there is no gate.
    """
    sites = attention_sites(prepared.run.model)
    total = len(prepared.plan) * (1 + len(sites) * len(WAYS))
    counter = _Counter(total)
    seen = {id(site): _Seen(site) for site in sites}
    model = prepared.run.model
    with on_device(prepared.run, prepared.settings.device) as device, evaluating(model):
        watch = partial(_watched, prepared, seen)
        logits = yield from _logits(prepared, device, counter, should_stop, watch)
        if logits is None:
            return None
        before = Outcome(prepared.run.values, logits)
        found = []
        for one in seen.values():
            entry = _about(one)
            for way in WAYS:
                if way == "with_mean" and not _has_gate(one):
                    entry[way] = None
                    counter.done += len(prepared.plan)
                    continue
                silent = way == "with_mean" and _is_silent(prepared, one, device)
                around = partial(_changed, one.site, way, silent)
                logits = yield from _logits(prepared, device, counter, should_stop, around)
                if logits is None:
                    return None
                entry[way] = before.compare(logits)
            found.append(_ranked(entry))
    found.sort(key=lambda entry: -entry["effect"])
    return {"sites": found, **_facts(prepared)}


class _Counter:
    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def next(self) -> WindowReport:
        self.done += 1
        return WindowReport(self.done, max(self.done, self.total), "Comparing")


Around = Callable[[], AbstractContextManager[None]]


def _logits(
    prepared: Prepared,
    device: torch.device,
    counter: _Counter,
    should_stop: ShouldStop,
    around: Around,
) -> Generator[WindowReport, None, Tensor | None]:
    """Return the stitched logits in float32, each window run in a context of its own."""
    model, plan = prepared.run.model, prepared.plan
    canvas, total = Canvas(plan), None
    for start in plan:
        if should_stop():
            return None
        window = plan.cut(prepared.x, start).to(device)
        with torch.inference_mode(), precision_context(device, "float32"), around():
            logits = forward_window(model, window, plan)[0].float()
        total = canvas.empty(logits.shape[0]) if total is None else total
        canvas.add(total, start, logits, is_weighted=True)
        yield counter.next()
    return total


def _changed(site: AttentionSite, way: str, silent: bool) -> AbstractContextManager[None]:
    return replaced(site, way, by_sigmoid=silent)


@contextmanager
def _watched(prepared: Prepared, watch: dict[int, _Seen]) -> Iterator[None]:
    """Note how much each module changes, and its gates."""
    model = prepared.run.model

    def note(site: AttentionSite, passed: Passed) -> None:
        _note_change(watch[id(site)], passed)

    with passing(model, note), record(model) as recorded:
        yield
    _note_maps(watch, recorded)


def _note_change(seen: _Seen, passed: Passed) -> None:
    seen.squares[0] += float((passed.given - passed.taken).double().square().sum())
    seen.squares[1] += float(passed.taken.double().square().sum())
    if seen.first is None:
        seen.first = passed.given.clone()


def _note_maps(watch: dict[int, _Seen], recorded: list[RecordedMap]) -> None:
    by_name = {one.site.name: one for one in watch.values()}
    for one in recorded:
        seen = by_name[one.name.partition(".")[0]]
        if one.name not in seen.maps:
            seen.maps.append(one.name)
        seen.kinds.add(one.kind)
        if one.kind in GATE_KINDS and one.bounds == (0.0, 1.0) and "key_slices" not in one.name:
            seen.gates.add(one.tensor)


def _has_gate(seen: _Seen) -> bool:
    return bool(seen.kinds - {"transform"})


def _is_silent(prepared: Prepared, seen: _Seen, device: torch.device) -> bool:
    """Return whether what a module shows is not what it uses, so that changing it does nothing."""
    outputs: list[Tensor] = []
    start = next(iter(prepared.plan))
    window = prepared.plan.cut(prepared.x, start).to(device)

    def note(site: AttentionSite, passed: Passed) -> None:
        if site is seen.site:
            outputs.append(passed.given)

    model = prepared.run.model
    exact = precision_context(device, "float32")
    with torch.inference_mode(), exact, replaced(seen.site, "with_mean"), passing(model, note):
        forward_window(model, window, prepared.plan)
    return bool(outputs) and seen.first is not None and torch.equal(outputs[-1], seen.first)


def _about(seen: _Seen) -> dict[str, Any]:
    return {
        "site": seen.site.name,
        "attention": seen.site.attention,
        "layer": seen.site.layer,
        "maps": seen.maps,
        "relative_change": seen.relative_change,
        "gate": seen.gates.to_json(),
    }


def _ranked(entry: dict[str, Any]) -> dict[str, Any]:
    effect = (entry["with_mean"] or entry["with_identity"])["score"]
    gate = entry["gate"]
    is_level = gate is not None and gate["std"] < UNUSED
    unused = entry["relative_change"] < UNUSED or is_level
    if is_level:
        text = f"All its weights are alike ({gate['mean']:.3f}), so it tells nothing apart."
    elif unused:
        text = "It hardly changes what passes, so its maps show nothing that the result rests on."
    elif entry["with_mean"] is None:
        text = f"Without it a class's mean probability changes by up to {100 * effect:.1f} %."
    else:
        text = (
            "With the mean in place of its weights a class's mean probability changes by up to "
            f"{100 * effect:.1f} %."
        )
    return {**entry, "effect": effect, "unused": unused, "sentence": text}


def _facts(prepared: Prepared) -> dict[str, Any]:
    run = prepared.run
    return {
        "attention": run.config.attention,
        "run": run.id,
        "weights": run.weights,
        "weights_sha256": run.weights_sha256,
        "version": __version__,
        "windows": len(prepared.plan),
        "reason": None
        if attention_sites(run.model)
        else "This network has no attention module to compare.",
    }


def effects(run: Run, volume: Volume, **settings: Any) -> dict[str, Any]:
    """Return what each attention module of a run does to its result on a volume.

    Args:
        run: From `load_run`.
        volume: All images of a case.
        settings: Fields of `PredictConfig`.
    """
    steps = effect_steps(prepare(run, volume, PredictConfig(**settings)))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: dict[str, Any] = end.value
            return found
