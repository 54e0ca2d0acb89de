"""The case that a staying child keeps ready, so that a second question about it is quick."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.config import PredictConfig
from napari_attnseg.jobs.contract import Context
from napari_attnseg.jobs.inputs import read_on_one_grid

if TYPE_CHECKING:
    from napari_attnseg.explanation.prepared import Prepared
    from napari_attnseg.volume import Volume

_KEY = ("prepared case",)


def read_case(given: Mapping[str, Any]) -> Volume:
    """Return the images of a job's ``input``, resampled onto the first where that was allowed."""
    return read_on_one_grid(given["images"], resample=bool(given.get("resample")))[0]


def prepared_case(settings: dict[str, Any], context: Context) -> Prepared:
    """Return the case of a job on the grid of its run's network.

    The last one is kept, without the network: that is the run's to keep. It is read again when
    one of its files, the weights or the settings have changed.

    Args:
        settings: With ``run``, ``weights``, ``input`` and ``settings``, as all jobs on a case.
        context: Of the job.
    """
    import dataclasses

    from napari_attnseg.explanation.prepared import prepare

    config = PredictConfig.from_dict(settings.get("settings") or {})
    weights = settings.get("weights") or "best"
    run = context.runs.load(settings["run"], weights=weights, device=config.device)
    given = settings["input"]
    key = (
        str(run.path),
        run.weights_sha256,
        tuple((channel, _state(Path(path))) for channel, path in given["images"].items()),
        bool(given.get("resample")),
        config,
    )
    kept_key, kept = context.memory.get(_KEY, (None, None))
    if kept is None or kept_key != key:
        context.memory.pop(_KEY, None)
        made = prepare(run, read_case(given), config)
        kept = {one.name: getattr(made, one.name) for one in dataclasses.fields(made)}
        del kept["run"]
        context.memory[_KEY] = (key, kept)
    return _prepared(run, kept)


def _prepared(run: Any, kept: dict[str, Any]) -> Prepared:
    from napari_attnseg.explanation.prepared import Prepared

    return Prepared(run=run, **kept)


def _state(path: Path) -> tuple[str, int, int]:
    if not path.exists():
        return str(path), 0, 0
    about = path.stat()
    return str(path.resolve()), about.st_mtime_ns, about.st_size
