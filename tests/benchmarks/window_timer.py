"""How late a 10 ms timer of the window is while a network trains beside it.

With a display, or as ``xvfb-run -a python tests/benchmarks/window_timer.py``. It opens a volume
of 240 x 240 x 155 voxels in the workbench, trains on built-in cases in a child process, and
measures the window standing still and scrolling ten slices a second. The 99th percentile of the
lateness should stay below 50 ms.

napari and OpenGL have their own share in it, most of all where OpenGL is computed in software. So
the same is measured before with napari alone: an image, a labels layer, and an empty dock of the
workbench's width, so that as many pixels are drawn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QWidget
from vispy.gloo import gl

from napari_attnseg.cohort.phantoms import write_phantoms
from napari_attnseg.cohort.project import Project
from napari_attnseg.gui.app import add_workbench
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.volume import Volume

SHAPE = (155, 240, 240)
PERIOD_MS = 10
SCROLL_MS = 100
LIMIT_MS = 50
WINDOW = (1400, 900)
DOCK_WIDTH = 430
SETTLE_S = 5


class Lateness:
    """Notes how late each beat of a timer comes."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._last: float | None = None
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(PERIOD_MS)

    def _beat(self) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.late_ms.append(max(0.0, (now - self._last) * 1000 - PERIOD_MS))
        self._last = now

    def stop(self) -> dict[str, float]:
        """Return what was measured."""
        self._timer.stop()
        late = np.array(self.late_ms)
        return {
            "beats": len(late),
            "median_ms": float(np.median(late)),
            "p99_ms": float(np.percentile(late, 99)),
            "max_ms": float(late.max()),
        }


def run_for(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Run the window for a time."""
    app, end = QApplication.instance(), time.monotonic() + seconds
    assert app is not None
    while time.monotonic() < end and not until():
        app.processEvents()
        time.sleep(0.0005)


def measured(seconds: float) -> dict[str, float]:
    """Return the lateness while the window runs for a time."""
    lateness = Lateness()
    run_for(seconds)
    return lateness.stop()


def large_case(folder: Path) -> None:
    """Write a volume of the size of a brain scan beside the built-in cases."""
    rng = np.random.default_rng(0)
    data = rng.normal(100, 20, size=(1, *SHAPE)).astype(np.float32)
    write_volume(folder / "large.nii.gz", Volume(data, np.eye(4)))


def prepare(folder: Path) -> Path:
    """Make a project of phantoms and one large volume."""
    project = Project.create(folder / "project", write_phantoms(folder / "cases", cases=6, seed=0))
    large_case(folder)
    return project.path


def renderer() -> str:
    """Return what draws OpenGL; llvmpipe is software."""
    return str(gl.glGetParameter(gl.GL_RENDERER))


def scrolled(viewer: napari.Viewer, seconds: float) -> dict[str, float]:
    """Return the lateness while ten slices a second go by."""
    scroll = QTimer()
    scroll.timeout.connect(
        lambda: viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + 1) % SHAPE[0])
    )
    scroll.start(SCROLL_MS)
    found = measured(seconds)
    scroll.stop()
    return found


def measure_bare(folder: Path, seconds: float) -> dict[str, object]:
    """Measure napari without the workbench, with the same volume on as many pixels."""
    viewer = napari.Viewer(title="napari alone")
    viewer.window.resize(*WINDOW)
    dock = QWidget()
    dock.setMinimumWidth(DOCK_WIDTH)
    viewer.window.add_dock_widget(dock, name="empty", area="right")
    data = read_volume(folder / "large.nii.gz").data[0]
    viewer.add_image(data)
    viewer.add_labels(np.zeros(SHAPE, dtype=np.uint8))
    run_for(SETTLE_S)
    found: dict[str, object] = {"renderer": renderer(), "bare, still": measured(seconds)}
    found["bare, scrolling"] = scrolled(viewer, seconds)
    viewer.close()
    run_for(1)
    return found


def measure(workbench: Workbench, folder: Path, seconds: float) -> dict[str, object]:
    """Measure still and scrolling, without and with a training child."""
    session, viewer = workbench.session, workbench.bench.viewer
    session.cases.add_files([folder / "large.nii.gz"])
    run_for(30, lambda: "large" in session.cases.names)
    workbench.bench.open_case("large")
    run_for(60, lambda: workbench.bench.layers.case is not None)
    run_for(SETTLE_S)
    found: dict[str, object] = {}
    for phase in ("alone", "training"):
        if phase == "training":
            session.training.start({"minutes": (4 * seconds + 60) / 60})
            run_for(120, lambda: len(session.training.curves.steps) > 1)
        found[f"{phase}, still"] = measured(seconds)
        found[f"{phase}, scrolling"] = scrolled(viewer, seconds)
    start = time.perf_counter()
    session.training.stop()
    found["stop_acknowledged_s"] = time.perf_counter() - start
    run_for(60, lambda: not session.training.is_running)
    found["stopped_as"] = session.training.job.state if session.training.job else None
    return found


def main() -> None:
    """Print the figures as JSON; exit 1 if the window was too late while training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = prepare(folder)
        found = measure_bare(folder, seconds)
        viewer = napari.Viewer(title="window timer")
        viewer.window.resize(*WINDOW)
        workbench = add_workbench(viewer)
        workbench.session.cases.open_folder(project)
        run_for(60, lambda: bool(workbench.session.cases.rows))
        found |= measure(workbench, folder, seconds)
        viewer.close()
    late = {name: values["p99_ms"] for name, values in found.items() if isinstance(values, dict)}
    found["scrolling, times bare napari"] = {
        phase: late[f"{phase}, scrolling"] / late["bare, scrolling"]
        for phase in ("alone", "training")
    }
    print(json.dumps(found, indent=1))
    raise SystemExit(int(max(late["training, still"], late["training, scrolling"]) >= LIMIT_MS))


if __name__ == "__main__":
    main()
