"""Pictures of maps over their case: panels as PNG, and a film through the slices as GIF.

Settings: ``input`` (``name`` and ``images``, file by channel name), ``maps`` (files with their
records beside them), ``labels`` (file on the image's grid, or None), ``class`` (whose outline is
drawn; that of each map if None), ``out`` (folder; beside each map if None), ``png`` and ``film``
(whether to write them), ``plane`` (of the film), ``overwrite``.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.io import read_volume
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import require_new_files, require_writable
from napari_attnseg.jobs.map_files import any_record, bare_name
from napari_attnseg.jobs.prepared_cases import read_case

if TYPE_CHECKING:
    from napari_attnseg.volume import Volume


@JOBS.register("picture")
def picture(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield a ``file`` event for each picture; returns how many there are."""
    files = [Path(one) for one in settings["maps"]]
    wanted = [(file, target) for file in files for target in _targets(file, settings)]
    for folder in {target.parent for _, target in wanted}:
        require_writable(folder)
    overwrite = bool(settings.get("overwrite", True))
    require_new_files([target for _, target in wanted], overwrite=overwrite)
    name = str(settings["input"]["name"])
    yield {"event": "progress", "done": 0, "total": len(wanted), "text": f"Reading {name}"}
    image = read_case(settings["input"])
    labels = read_volume(settings["labels"], labels=True) if settings.get("labels") else None
    for done, (file, target) in enumerate(wanted):
        if context.should_stop():
            return {"files": done, "state": "stopped"}
        yield {
            "event": "progress",
            "done": done,
            "total": len(wanted),
            "text": f"Drawing {target.name}",
        }
        _draw(file, target, (image, labels), settings)
        yield {"event": "file", "path": str(target)}
    return {"files": len(wanted), "state": "done"}


def _targets(file: Path, settings: dict[str, Any]) -> list[Path]:
    folder = Path(settings["out"]) if settings.get("out") else file.parent
    kinds = [suffix for key, suffix in (("png", ".png"), ("film", ".gif")) if settings.get(key)]
    return [folder / f"{bare_name(file)}{suffix}" for suffix in kinds]


def _draw(
    file: Path,
    target: Path,
    case: tuple[Volume, Volume | None],
    settings: dict[str, Any],
) -> None:
    from napari_attnseg.explanation.film import write_film
    from napari_attnseg.explanation.panels import panel_figure, write_panels

    heat, info = read_volume(file), any_record(file)
    value = settings.get("class", info.get("class"))
    image, labels = case
    if target.suffix == ".png":
        name = str(settings["input"]["name"])
        write_panels(target, panel_figure(image, [(heat, info)], labels, value=value, title=name))
        return
    plane = str(settings.get("plane") or "axial")
    write_film(target, image, heat, info, labels, plane=plane, value=value)
