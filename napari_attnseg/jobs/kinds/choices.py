"""What can be chosen besides networks: losses, and methods of explanation."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from napari_attnseg.config import TrainConfig
from napari_attnseg.jobs.contract import JOBS, Context, Event


@JOBS.register("choices")
def choices(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Return ``losses`` and ``methods``, each with its name, title and summary; no settings.

    Methods also say whether they have a layer and what their options are, as
    `explanation.describe_methods` does. The default comes first.
    """
    from napari_attnseg.explanation import describe_methods
    from napari_attnseg.losses import LOSSES

    yield {"event": "progress", "done": 0, "total": 1, "text": "Reading what can be chosen"}
    default = TrainConfig().loss
    losses = sorted(LOSSES, key=lambda name: (name != default, name))
    return {"losses": described(LOSSES, losses, {}), "methods": describe_methods()}


def described(
    parts: Mapping[str, Any], names: Iterable[str], titles: Mapping[str, str]
) -> list[dict[str, str]]:
    """Return parts with their names, titles and the first lines of their docstrings."""
    return [
        {
            "name": name,
            "title": titles.get(name, name),
            "summary": (inspect.getdoc(parts[name]) or "").partition("\n")[0],
        }
        for name in names
    ]
