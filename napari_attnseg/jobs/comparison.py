"""The folder of a comparison of networks: what is the same for all, and where each stands.

``comparisons/<name>/comparison.json`` holds what every network shares, ``runs/<network>`` an
ordinary run for each network and seed, whose own files tell how far it has come. So there is no
list that could disagree with them, and a comparison can be killed at any time and gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_attnseg.cohort.project import Project
from napari_attnseg.io import atomic_write
from napari_attnseg.io.locking import try_to_lock
from napari_attnseg.jobs.inputs import JobError

FOLDER = "comparisons"
FILE = "comparison.json"
LOCK = ".comparison.lock"
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One network and seed of a comparison.

    Args:
        backbone: Registered name.
        attention: Registered name.
        loss: Registered name.
        seed: Of weights, patches and augmentation.
    """

    backbone: str
    attention: str
    loss: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its run's folder."""
        return f"{self.backbone}-{self.attention}-{self.loss}-seed{self.seed}"

    @property
    def title(self) -> str:
        """What it is called in messages."""
        attention = "" if self.attention == "none" else f" + {self.attention}"
        return f"{self.backbone}{attention}, {self.loss}, seed {self.seed}"


class ComparisonFolder:
    """The folder of one comparison, in a project's folder.

    Args:
        project: The project.
        name: Of the comparison.

    Raises:
        JobError: If the name cannot be that of a folder.
    """

    def __init__(self, project: Project, name: str) -> None:
        if not name or Path(name).name != name or name.startswith("."):
            raise JobError(f"A comparison cannot be named {name!r}; use letters and digits.")
        self.project = project
        self.name = name
        self.path = project.path / FOLDER / name

    def begin(self, shared: Mapping[str, Any]) -> None:
        """Note what is the same for all networks, or check that it still is.

        Args:
            shared: ``model`` and ``train`` hold what is asked for of `ModelConfig` and
                `TrainConfig`.

        Raises:
            JobError: If the comparison was begun with other settings or other cases.
        """
        wanted = {"format": FORMAT, **shared, "cases": self._cases()}
        known = self.content()
        if known is None:
            with atomic_write(self.path / FILE) as file:
                file.write(json.dumps(wanted, indent=1, ensure_ascii=False).encode())
            return
        if known.get("cases") != wanted["cases"]:
            raise JobError(
                f"The comparison {self.name} was begun with other training and validation cases "
                "than the project has now, so its results could not be compared with new ones. "
                "Start another with --name."
            )
        for part in ("model", "train"):
            self._require_same(known.get(part) or {}, wanted.get(part) or {})

    def content(self) -> dict[str, Any] | None:
        """Return what all networks share, or None if the comparison has not begun.

        Raises:
            JobError: If the file is damaged.
        """
        path = self.path / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise JobError(
                f"{str(path)!r} is damaged; start another comparison with --name."
            ) from error
        return dict(content)

    def run_dir(self, entry: Entry) -> Path:
        """Return the folder of an entry's run, which may not exist yet."""
        return self.path / "runs" / entry.name

    def log_path(self, entry: Entry) -> Path:
        """Return where the process that trains an entry writes its log."""
        path = self.path / "logs" / f"{entry.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def entries(self) -> list[Entry]:
        """Return the entries that have a run, in the order of backbone, loss, attention, seed."""
        found = [_entry_of(path) for path in sorted((self.path / "runs").glob("*/config.json"))]
        known = [one for one in found if one is not None]
        # What the others are tested against comes first.
        return sorted(known, key=lambda one: (one.backbone, one.loss, _rank(one), one.seed))

    def result(self, entry: Entry) -> dict[str, Any] | None:
        """Return the ``result.json`` of a run that has ended as it should, or None."""
        result = read_json(self.run_dir(entry) / "result.json")
        return result if result is not None and result.get("state") == "done" else None

    def can_resume(self, entry: Entry) -> bool:
        """Return whether a run was begun and saved, and has not ended."""
        folder = self.run_dir(entry)
        has_files = (folder / "resume.pt").is_file() and (folder / "config.json").is_file()
        return has_files and self.result(entry) is None

    def plan(self, dims: int) -> dict[str, Any] | None:
        """Return the plan that the runs of so many dimensions have, or None before the first."""
        for path in sorted((self.path / "runs").glob("*/plan.json")):
            plan = read_json(path)
            if plan is not None and plan.get("dims") == dims:
                return plan
        return None

    def settings(self, entry: Entry, dims: int) -> dict[str, Any]:
        """Return the settings of the training job that begins or goes on with an entry."""
        shared = self.content() or {}
        project, folder = str(self.project.path), str(self.run_dir(entry))
        if self.can_resume(entry):
            return {"project": project, "resume": folder}
        model = {**shared.get("model", {}), "dims": dims}
        model |= {"backbone": entry.backbone, "attention": entry.attention}
        train = {**shared.get("train", {}), "loss": entry.loss, "seed": entry.seed}
        plan = self.plan(dims) or {}
        return {
            "project": project, "run_dir": folder, "model": model, "train": train, "plan": plan,
        }  # fmt: skip

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working on this comparison.

        Raises:
            JobError: If one does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a+b") as file:
            if not try_to_lock(file):
                raise JobError(
                    f"Another program is working on the comparison {self.name}; wait for it, or "
                    "start another with --name."
                )
            yield

    def _cases(self) -> dict[str, list[str]]:
        cases = {"train": self.project.training_cases(), "val": self.project.validation_cases()}
        return {name: sorted(one.name for one in found) for name, found in cases.items()}

    def _require_same(self, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        for key in sorted({*known, *wanted}):
            if known.get(key) != wanted.get(key):
                raise JobError(
                    f"The comparison {self.name} was begun with {key} {_word(known.get(key))}, "
                    f"and now it is {_word(wanted.get(key))}. Ask for the same, or start another "
                    "with --name."
                )


def entries_of(
    backbones: Sequence[str], attentions: Sequence[str], losses: Sequence[str], seeds: int
) -> list[Entry]:
    """Return all combinations, seed by seed, so that an unfinished comparison is a fair one."""
    return [
        Entry(backbone, attention, loss, seed)
        for seed in range(seeds)
        for backbone in backbones
        for loss in losses
        for attention in attentions
    ]


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds, or None where there is no such file or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _entry_of(path: Path) -> Entry | None:
    config = read_json(path) or {}
    model, train = config.get("model") or {}, config.get("train") or {}
    try:
        entry = Entry(model["backbone"], model["attention"], train["loss"], int(train["seed"]))
    except (KeyError, TypeError, ValueError):
        return None
    return entry if entry.name == path.parent.name else None


def _rank(entry: Entry) -> tuple[bool, str]:
    return entry.attention != "none", entry.attention


def _word(value: Any) -> str:
    return "left open" if value is None else str(value)
