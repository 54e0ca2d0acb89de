"""Opens napari with the workbench docked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_attnseg.gui.workbench import Workbench

if TYPE_CHECKING:
    import napari

TITLE = "napari-attnseg"
DOCK = "Workbench"


def open_window(paths: Sequence[str | Path] = (), *, block: bool = True) -> napari.Viewer:
    """Open a window with the workbench, and in it a project, a folder, or volumes.

    Args:
        paths: A project, a folder of volumes, or volumes.
        block: Whether to run until the window closes.

    Returns:
        The viewer; its window is closed when ``block``.
    """
    import napari

    viewer = napari.Viewer(title=TITLE)
    workbench = add_workbench(viewer)
    open_paths(workbench, [Path(path) for path in paths])
    if block:
        napari.run()
    return viewer


def add_workbench(viewer: napari.Viewer) -> Workbench:
    """Dock the workbench at the right of a viewer."""
    workbench = Workbench(viewer)
    viewer.window.add_dock_widget(workbench, name=DOCK, area="right", tabify=False)
    return workbench


def open_paths(workbench: Workbench, paths: Sequence[Path]) -> None:
    """Open a project or a folder, or add volumes."""
    folders = [path for path in paths if path.is_dir()]
    for folder in folders[:1]:
        workbench.session.cases.open_folder(folder)
    files = [path for path in paths if path not in folders]
    if files:
        workbench.session.cases.add_files(files)
