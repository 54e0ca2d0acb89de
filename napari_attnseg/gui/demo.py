"""Opens a project with its result in a real window and saves a picture of every panel."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QApplication

from napari_attnseg.gui.app import add_workbench
from napari_attnseg.gui.workbench import Workbench

SIZE = (1440, 900)
SECONDS = 120.0


class DemoError(RuntimeError):
    """A step of the demonstration that did not come to its end."""


def screenshots(folder: str | Path, project: str | Path | None = None) -> list[Path]:
    """Open a project in a window, walk through its panels and save pictures.

    Args:
        folder: Where the pictures go; made if it is not there.
        project: The project; by default ``project`` beside or in the folder.

    Returns:
        The pictures.

    Raises:
        DemoError: If a step takes longer than two minutes or fails.
    """
    import napari

    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="napari-attnseg", show=True)
    try:
        viewer.window.resize(*SIZE)
        tour = Tour(add_workbench(viewer), out)
        return tour.walk(Path(project) if project else _project_near(out))
    finally:
        viewer.close()


class Tour:
    """A walk through the panels, pressing the buttons that a person presses.

    Args:
        workbench: The workbench in its window.
        out: Where the pictures go.
    """

    def __init__(self, workbench: Workbench, out: Path) -> None:
        self.workbench, self.session, self.out = workbench, workbench.session, out
        self.pictures: list[Path] = []
        self._problems: list[str] = []
        self.session.problem.connect(lambda problem: self._problems.append(problem.text))

    def walk(self, project: Path) -> list[Path]:
        """Visit every panel and return the pictures."""
        self.session.cases.open_folder(project)
        self._wait(lambda: bool(self.session.cases.rows), "open the project")
        self._wait(lambda: bool(self.session.model.catalogue), "read the networks")
        self._wait(lambda: self.session.model.run_description is not None, "read the run")
        self._open_case()
        self._take("Cases", "cases")
        self._take("Model", "model")
        self._take("Train", "train")
        self._segment()
        self._explain()
        self._evaluate()
        return self.pictures

    def _open_case(self) -> None:
        rows = self.session.cases.rows
        row = next((one for one in rows if one.set == "val"), rows[0])
        self.workbench.bench.open_case(row.name)
        layers = self.workbench.bench.layers
        self._wait(lambda: layers.case is not None, f"open {row.name}")

    def _segment(self) -> None:
        self.workbench.show_panel("Segment")
        if self.session.predictions.view is None:
            self.session.predictions.segment([self.session.cases.case.name], {"uncertainty": True})  # type: ignore[union-attr]
        self._wait(lambda: self.session.predictions.view is not None, "segment the case")
        self._go_to_the_largest_slice()
        self._take("Segment", "mask")

    def _explain(self) -> None:
        self.workbench.show_panel("Explain")
        panel = self.workbench.panel("Explain")
        shown: list[object] = []
        self.session.explanations.ready.connect(shown.append)
        panel.show_button.click()  # type: ignore[attr-defined]
        self._wait(lambda: bool(shown), "make a map")
        self._take("Explain", "map")
        if panel.attention_button.isEnabled():  # type: ignore[attr-defined]
            panel.attention_button.click()  # type: ignore[attr-defined]
            self._wait(lambda: bool(panel.rows), "look at attention")  # type: ignore[attr-defined]
            overlays = [row.overlay for row in panel.rows if row.overlay is not None]  # type: ignore[attr-defined]
            if overlays:
                shown.clear()
                overlays[0].click()
                self._wait(lambda: bool(shown), "show attention")
            self._take("Explain", "attention")

    def _evaluate(self) -> None:
        self.workbench.show_panel("Evaluate")
        self.workbench.panel("Evaluate").evaluate.click()  # type: ignore[attr-defined]
        self._wait(lambda: self.session.scores.scores is not None, "compare with labels")
        self.workbench.bench.layers.toggle_off("map")
        self._take("Evaluate", "evaluate")

    def _go_to_the_largest_slice(self) -> None:
        view, case = self.session.predictions.view, self.session.cases.case
        if view is not None and case is not None:
            shown = case.label or view.labels
            sizes = (shown.data[0] > 0).sum(axis=(1, 2))
            self.workbench.bench.layers.go_to_slice(0, int(sizes.argmax()))

    def _take(self, panel: str, name: str) -> None:
        self.workbench.show_panel(panel)
        self._idle(0.3)
        # Docks may have grown with the names of layers.
        self.workbench.bench.viewer.reset_view()
        self._idle(0.5)
        path = self.out / f"{name}.png"
        self.workbench.bench.viewer.window.screenshot(str(path), flash=False, canvas_only=False)
        self.pictures.append(path)

    def _wait(self, until: Callable[[], bool], doing: str) -> None:
        end = time.monotonic() + SECONDS
        while not until():
            if self._problems or time.monotonic() > end:
                reason = self._problems[0] if self._problems else "it took too long"
                raise DemoError(f"The demonstration could not {doing}: {reason}")
            self._idle(0.02)
        self._idle(0.2)

    def _idle(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)


def _project_near(folder: Path) -> Path:
    for place in (folder / "project", folder.parent / "project", folder):
        if (place / "project.json").is_file():
            return place
    raise DemoError(f"No project is in or beside {folder}; run attnseg demo first.")


def main() -> None:
    """Save the pictures in the folder named on the command line."""
    if len(sys.argv) not in (2, 3):
        sys.exit("Usage: python -m napari_attnseg.gui.demo FOLDER [PROJECT]")
    for picture in screenshots(*sys.argv[1:]):
        sys.stdout.write(f"{picture}\n")


if __name__ == "__main__":
    main()
