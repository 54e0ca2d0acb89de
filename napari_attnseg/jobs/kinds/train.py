"""Training on the cases of a project.

Settings: those of `training.start.train_project`; in ``model``, ``network`` may name a published
network, whose settings the others then change.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_attnseg.jobs.contract import JOBS, Context, Event

_FROM_THE_PROJECT = ("in_channels", "out_channels")


@JOBS.register("train")
def train(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield training's reports as events; returns what ``result.json`` holds."""
    yield {"event": "progress", "done": 0, "total": 0, "text": "Loading the libraries"}
    from napari_attnseg.training.start import train_project

    asked = {**settings, "model": chosen_model(settings.get("model") or {})}
    require_known((settings.get("train") or {}).get("loss"), asked["model"].get("attention"))
    if not (settings.get("resume") or settings.get("from")):
        require_network(asked["model"])
    steps = train_project(asked, context.should_stop)
    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            return dict(end.value.to_json())
        yield report.to_event()


def require_known(loss: str | None, attention: str | None) -> None:
    """Refuse names that nothing has, before a run is begun and every case is read.

    Raises:
        UnknownPartError: If there is no such loss or attention module.
    """
    from napari_attnseg.losses import LOSSES
    from napari_attnseg.models.attention import ATTENTION

    for name, registry in ((loss, LOSSES), (attention, ATTENTION)):
        if name is not None:
            registry[name]


def require_network(given: dict[str, Any]) -> None:
    """Refuse a network that makes no sense, before a run is begun and every case is read.

    Raises:
        ModelError: If backbone, attention and places do not fit together.
    """
    from napari_attnseg.models import check_pair
    from napari_attnseg.training.start import model_config

    check_pair(model_config(given, channels=1, classes=1))


def chosen_model(given: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for of `ModelConfig`, with a published network spelt out."""
    chosen = {key: value for key, value in given.items() if key not in _FROM_THE_PROJECT}
    name = chosen.pop("network", None)
    if name is None:
        return chosen
    from napari_attnseg.models import network_config

    published = network_config(name).to_dict()
    for key in _FROM_THE_PROJECT:
        del published[key]
    return {**published, **chosen}
