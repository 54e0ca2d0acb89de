"""Two maps of one case beside each other: networks, weights, methods, before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psygnal import Signal

from napari_attnseg.session.case_jobs import CaseJobs
from napari_attnseg.session.maps import MapView, read_map
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.work import Event, Work

WEIGHTS = {"best": "best weights", "last": "last weights"}


@dataclass(frozen=True)
class Other:
    """What the shown map is compared with.

    Args:
        run: The network.
        weights: ``best`` or ``last``.
        method: Name of the method.
        layer: Name of the layer, or None for the method's own.
    """

    run: RunInfo
    weights: str
    method: str
    layer: str | None


@dataclass(frozen=True)
class MapComparison:
    """Two maps and the first less the second.

    Args:
        first, second: The maps.
        difference: Their difference on the first one's grid; None where one of them has no map.
    """

    first: MapView
    second: MapView
    difference: MapView | None


class MapComparisonDesk:
    """Makes the second map with the first one's target, and has the difference computed.

    Args:
        jobs: Starts jobs about the open case.
        methods: Returns name, title and summary of the methods.
    """

    changed = Signal()
    compared = Signal(object)

    def __init__(self, jobs: CaseJobs, methods: Callable[[], list[tuple[str, str, str]]]) -> None:
        self._jobs, self._methods = jobs, methods
        self.view: MapComparison | None = None
        self.work: Work | None = None

    def runs(self) -> list[RunInfo]:
        """Return the runs with weights that look at the same images, the newest first."""
        model = self._jobs.model
        mine = model.run
        return [
            run
            for run in reversed(model.runs)
            if run.has_weights and (mine is None or run.channels == mine.channels)
        ]

    def why_not(self, first: MapView | None) -> str:
        """Return why nothing can be compared with a map, or an empty string."""
        if self._jobs.why_not():
            return self._jobs.why_not()
        if first is None or first.path is None or not first.is_class_map:
            return "Show a map of a class first; it is compared with another one."
        return "Maps are being compared." if self.running() else ""

    def running(self) -> Work | None:
        """Return the job that is running, or None."""
        return self.work if self.work is not None and not self.work.has_ended else None

    def compare(self, first: MapView, other: Other) -> None:
        """Make the other map, then the difference."""
        target = (first.info.get("target") or {}).get("spec") or first.info.get("class")
        is_same_method = other.method == first.info.get("method")
        out = self._jobs.folder(first.run) / "compared"
        settings = {
            "run": str(other.run.path),
            "weights": other.weights,
            "method": other.method,
            "layer": other.layer,
            "options": (first.info.get("options") or {}) if is_same_method else {},
            "target": target,
            "attention": False,
            "out": str(out / f"{other.run.id}_{other.weights}"),
        }
        self.work = self._jobs.start(
            "explain",
            settings,
            f"Explaining with run {other.run.short}",
            lambda event: self._take_second(first, other, event),
            other.run,
        )
        self.changed.emit()

    def stop(self) -> None:
        """Ask the running job to stop."""
        if self.work is not None:
            self._jobs.work.stop(self.work)

    def clear(self) -> None:
        """Forget the comparison, as another case opens."""
        if self.view is not None:
            self.view = None
            self.compared.emit(None)

    def _take_second(self, first: MapView, other: Other, event: Event) -> None:
        if event["event"] == "map":
            titles = {name: title for name, title, _ in self._methods()}
            case = first.case
            self._jobs.read(
                "reading the other map",
                lambda: read_map(other.run, case, event, titles),
                lambda second: self._have_both(first, second),
            )
        elif event["event"] == "state":
            self.changed.emit()

    def _have_both(self, first: MapView, second: MapView) -> None:
        if second.path is None or first.path is None:
            self._set(MapComparison(first, second, None))
            return
        settings = {
            "first": str(first.path),
            "second": str(second.path),
            "out": str(Path(second.path).parent),
            "name": f"{first.case}_{first.run.id}_{second.run.id}",
        }
        self.work = self._jobs.start(
            "compare_maps",
            settings,
            "Comparing the maps",
            lambda event: self._take_difference(first, second, event),
        )
        self.changed.emit()

    def _take_difference(self, first: MapView, second: MapView, event: Event) -> None:
        if event["event"] == "map":
            self._jobs.read(
                "reading the difference",
                lambda: read_map(first.run, first.case, event, {}),
                lambda found: self._set(MapComparison(first, second, found)),
            )
        elif event["event"] == "state":
            self.changed.emit()

    def _set(self, view: MapComparison) -> None:
        self.view = view
        self.compared.emit(self.view)
        self.changed.emit()
