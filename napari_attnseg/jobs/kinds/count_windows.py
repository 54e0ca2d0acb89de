"""How many windows a case is segmented in.

Settings: ``plan`` holds ``patch_size``, ``spacing_dhw``, ``orientation`` and ``dims``,
``size_multiple`` and ``context_margin`` are those of the network; ``shape_dhw`` and ``affine`` are
the case's grid.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_attnseg.jobs.contract import JOBS, Context, Event


@JOBS.register("count_windows")
def count_windows(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Return ``windows``, as prediction cuts the case with its own settings."""
    import numpy as np

    from napari_attnseg.config import PredictConfig
    from napari_attnseg.inference.window import plan_windows
    from napari_attnseg.preprocessing import Plan
    from napari_attnseg.preprocessing.pipeline import network_grid
    from napari_attnseg.volume import Grid

    yield {"event": "progress", "done": 0, "total": 1, "text": "Counting windows"}
    plan = Plan.from_dict(settings["plan"])
    grid = Grid(tuple(settings["shape_dhw"]), np.asarray(settings["affine"], dtype=np.float64))
    windows = plan_windows(
        network_grid(grid, plan).shape_dhw,
        plan.patch_size,
        overlap=PredictConfig().overlap,
        multiple=tuple(settings["size_multiple"]),
        margin=tuple(settings["context_margin"]),
        is_flat=plan.dims == 2,
    )
    return {"windows": len(windows)}
