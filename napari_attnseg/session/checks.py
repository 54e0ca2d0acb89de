"""How far a map can be trusted: asking for a check, and reading one that was made before."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_attnseg.session.case_jobs import CaseJobs
from napari_attnseg.session.files import read_json
from napari_attnseg.session.maps import MapView
from napari_attnseg.session.work import Event, Work


@dataclass(frozen=True)
class CheckView:
    """What is known of a map's worth.

    Args:
        map: File of the map.
        verdict: ``word`` (better, no better, worse, unknown) and ``sentence``; empty until known.
        measures: Results by name, as far as they have been measured.
        flags: Sentences about what is odd.
        form: ``quick`` or ``full``.
    """

    map: Path
    verdict: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    form: str = "quick"


class CheckDesk:
    """Checks the map that is shown; results are kept beside the map.

    Args:
        jobs: Starts jobs about the open case.
    """

    changed = Signal()
    checked = Signal(object)

    def __init__(self, jobs: CaseJobs) -> None:
        self._jobs = jobs
        self._map: MapView | None = None
        self.view: CheckView | None = None
        self.work: Work | None = None

    def use(self, view: MapView | None) -> None:
        """Be about another map; a check that was made of it before is shown."""
        self._map = view
        self._set(None)
        path = view.path if view is not None and view.is_class_map else None
        if path is not None:
            self._jobs.read(
                "reading the check",
                lambda: read_check(path),
                lambda view: self._set_of(path, view),
            )

    def why_not(self) -> str:
        """Return why the shown map cannot be checked, or an empty string."""
        if self._jobs.why_not():
            return self._jobs.why_not()
        if self._map is None or self._map.path is None:
            return "Show a map first."
        if not self._map.is_class_map:
            return "Only maps of a class can be checked; gates are shown as they are."
        return "A map is being checked." if self.running() else ""

    def running(self) -> Work | None:
        """Return the check that is running, or None."""
        return self.work if self.work is not None and not self.work.has_ended else None

    def check(self, form: str = "quick") -> None:
        """Check the shown map; measures come one by one."""
        view = self._map
        if view is None or view.path is None:
            return
        path = view.path
        self._set(CheckView(path, form=form))
        settings = {
            "map": str(path),
            "form": form,
            "weights": view.info.get("weights") or "best",
        }
        self.work = self._jobs.start(
            "check",
            settings,
            f"Checking {view.title}",
            lambda event: self._take(path, event),
            view.run,
        )
        self.changed.emit()

    def stop(self) -> None:
        """Ask the check to keep what was measured."""
        if self.work is not None:
            self._jobs.work.stop(self.work)

    def _take(self, path: Path, event: Event) -> None:
        kind = event["event"]
        if kind == "measure" and self.view is not None and self.view.map == path:
            measures = {**self.view.measures, str(event["name"]): event["result"]}
            self._set(
                CheckView(path, self.view.verdict, measures, self.view.flags, self.view.form)
            )
        elif kind == "result":
            self._jobs.read(
                "reading the check",
                lambda: read_check(path),
                lambda view: self._set_of(path, view),
            )
        elif kind == "state":
            self.changed.emit()

    def _set_of(self, path: Path, view: CheckView | None) -> None:
        if self._map is not None and self._map.path == path and view is not None:
            self._set(view)

    def _set(self, view: CheckView | None) -> None:
        self.view = view
        self.checked.emit(view)
        self.changed.emit()


def check_record(map_path: Path) -> Path:
    """Return where the check of a map is kept."""
    name = map_path.name.removesuffix(".nii.gz")
    return map_path.with_name(f"{name}_check.json")


def read_check(map_path: Path) -> CheckView | None:
    """Return the check that was made of a map, or None; one of other weights does not count."""
    record = check_record(map_path)
    found = read_json(record)
    if not found.get("verdict"):
        return None
    info = read_json(map_path.with_name(map_path.name.removesuffix(".nii.gz") + ".json"))
    keys = ("weights_sha256", "target", "layer", "method")
    if any(key in info and key in found and info[key] != found[key] for key in keys):
        return None
    return CheckView(
        map_path,
        dict(found["verdict"]),
        dict(found.get("measures") or {}),
        tuple(map(str, found.get("flags") or ())),
        str(found.get("form", "quick")),
    )
