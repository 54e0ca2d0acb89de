"""Trained runs as a person chooses among them, read from their folders without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.config import ConfigError, ModelConfig
from napari_attnseg.session.files import read_json, write_json

if TYPE_CHECKING:
    from napari_attnseg.cohort.project import Project

BACKBONES = {"unet3d": "3D U-Net", "unet2d": "2D U-Net"}
ATTENTIONS = {
    "none": "no attention",
    "se": "SE",
    "cbam": "CBAM",
    "pe": "Project & Excite",
    "gate": "attention gate",
}


@dataclass(frozen=True)
class RunInfo:
    """A trained network and what it was trained for.

    Args:
        id: Its number in the project, such as ``"001"``, or a name if it came from elsewhere.
        path: Its folder.
        model: The network.
        classes: Names of the label values that it predicts.
        channels: Names of the images that it wants.
        spacing_dhw: Voxel size in mm on which it works.
        dice: Mean Dice by class value over the validation cases, where it has been measured.
        cases: Dice by class value of each validation case.
        state: ``done``, ``stopped`` or ``""`` while unknown.
        can_resume: Whether its training can continue where it stopped.
    """

    id: str
    path: Path
    model: ModelConfig
    classes: dict[int, str]
    channels: tuple[str, ...] = ()
    spacing_dhw: tuple[float, float, float] | None = None
    dice: dict[int, float] = field(default_factory=dict)
    cases: dict[str, dict[int, float | None]] = field(default_factory=dict)
    state: str = ""
    can_resume: bool = False
    has_weights: bool = True

    @property
    def mean_dice(self) -> float | None:
        """Mean over the classes, or None."""
        return sum(self.dice.values()) / len(self.dice) if self.dice else None

    @property
    def title(self) -> str:
        """What stands in menus, such as ``run 12 · 3D U-Net + SE · Dice 0.89``."""
        dice = f" · Dice {self.mean_dice:.2f}" if self.mean_dice is not None else ""
        return f"run {self.short} · {network_title(self.model)}{dice}"

    @property
    def short(self) -> str:
        """The id without leading zeros."""
        return self.id.lstrip("0") or self.id


def network_title(
    model: ModelConfig, backbone: str | None = None, attention: str | None = None
) -> str:
    """Return a network in a clinician's words, such as ``3D U-Net + SE``.

    Args:
        model: The network.
        backbone: Title of its backbone, if the catalogue has been read.
        attention: Title of its attention module, likewise.
    """
    name = backbone or BACKBONES.get(model.backbone, model.backbone)
    if model.attention == "none":
        return name
    return f"{name} + {attention or ATTENTIONS.get(model.attention, model.attention)}"


def read_run(path: Path) -> RunInfo | None:
    """Return what a run folder says of itself, or None if it is not one yet."""
    config, plan = read_json(path / "config.json"), read_json(path / "plan.json")
    if "model" not in config:
        return None
    try:
        model = ModelConfig.from_dict(config["model"])
    except (ConfigError, TypeError):
        return None
    result = read_json(path / "result.json")
    validation = result.get("validation") or {}
    spacing = plan.get("spacing_dhw")
    return RunInfo(
        id=path.name,
        path=path,
        model=model,
        classes={int(value): name for value, name in config.get("classes", {}).items()},
        channels=tuple(config.get("channels", ())),
        spacing_dhw=tuple(map(float, spacing)) if spacing else None,  # type: ignore[arg-type]
        dice=_scores(validation.get("mean") or {}),
        cases={name: _by_value(one) for name, one in (validation.get("cases") or {}).items()},
        state=str(result.get("state", "")),
        can_resume=(path / "resume.pt").is_file(),
        has_weights=(path / "weights.safetensors").is_file(),
    )


def read_runs(project: Project) -> tuple[RunInfo, ...]:
    """Return the project's runs, oldest first."""
    found = (read_run(Path(path)) for path in project.runs())
    return tuple(run for run in found if run is not None)


def chosen_run(project: Project) -> str | None:
    """Return the id of the run that the person last chose to work with."""
    return read_json(Path(project.path) / "workbench.json").get("run")


def choose_run(project: Project, run_id: str | None) -> None:
    """Remember which run the person works with."""
    path = Path(project.path) / "workbench.json"
    write_json(path, {**read_json(path), "run": run_id})


def _scores(values: dict[str, Any]) -> dict[int, float]:
    return {int(value): float(dice) for value, dice in values.items() if dice is not None}


def _by_value(values: dict[str, Any]) -> dict[int, float | None]:
    return {int(value): dice for value, dice in values.items()}
