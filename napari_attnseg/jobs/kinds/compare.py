"""Comparison of networks on the cases of a project, one training after another.

Settings: ``project`` (folder); ``backbones``, ``attentions``, ``losses`` (names, combined freely;
without them those that the comparison already has) and ``seeds`` (their number); ``name`` of the
comparison; ``model`` and ``train``, what all share of `ModelConfig` and `TrainConfig`;
``parallel`` trainings at a time; ``report`` and ``csv``, files to write beside those in the
comparison's own folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_attnseg.jobs.comparison import ComparisonFolder, Entry, entries_of, read_json
from napari_attnseg.jobs.contract import JOBS, Context, Event
from napari_attnseg.jobs.inputs import JobError
from napari_attnseg.jobs.pool import TrainingPool
from napari_attnseg.jobs.sentences import Trouble

if TYPE_CHECKING:
    from napari_attnseg.evaluation.compare import Row, Trial

NEVER = 1_000_000
"""Epochs between validations: the last weights are scored, since weights that were chosen by the
validation cases would score too well on them."""

LENGTHS = ("steps", "epochs", "minutes")
DEFAULT_MINUTES = 10.0


@JOBS.register("compare")
def compare(settings: dict[str, Any], context: Context) -> Generator[Event, None, Event]:
    """Yield progress and a ``trial`` for each training; returns the table and what is missing."""
    yield {"event": "progress", "done": 0, "total": 0, "text": "Loading the libraries"}
    from napari_attnseg.cohort.project import Project

    project = Project.open(settings["project"])
    parallel = int(settings.get("parallel") or 1)
    shared = _shared(settings, parallel)
    folder = ComparisonFolder(project, settings.get("name") or _name_of(shared["train"]))
    asked = _asked(settings, folder)
    dims = {one.backbone: _dims(one.backbone, shared["model"]) for one in asked}
    refused = _refused(asked, shared["model"], dims)
    entries = [one for one in asked if one not in refused]
    if not entries:
        raise JobError(next(iter(refused.values())))
    with folder.locked():
        folder.begin(shared)
        pool = TrainingPool(folder, dims, parallel)
        troubles = yield from pool.run(entries, context.should_stop)
        yield {"event": "progress", "done": 0, "total": 0, "text": "Comparing"}
        state = "stopped" if context.should_stop() else "done"
        return {**_concluded(folder, entries, refused, troubles, settings), "state": state}


def _shared(settings: Mapping[str, Any], parallel: int) -> dict[str, Any]:
    """Return what all networks have in common, as it was asked for."""
    train = {k: v for k, v in (settings.get("train") or {}).items() if v is not None}
    model = {k: v for k, v in (settings.get("model") or {}).items() if v is not None}
    if all(train.get(name) is None for name in LENGTHS):
        train["minutes"] = DEFAULT_MINUTES
    if parallel > 1:
        train.setdefault("threads", max(1, (os.cpu_count() or 1) // parallel))
    return {"model": model, "train": {"validate_every": NEVER, **train}}


def _name_of(train: Mapping[str, Any]) -> str:
    words = (f"{train[name]:g}-{name}" for name in LENGTHS if train.get(name) is not None)
    return "-".join(words)


def _asked(settings: Mapping[str, Any], folder: ComparisonFolder) -> list[Entry]:
    """Return the combinations that were asked for, or those that the comparison has."""
    from napari_attnseg.config import ModelConfig, TrainConfig
    from napari_attnseg.losses import LOSSES

    names = ("backbones", "attentions", "losses")
    backbones, attentions, losses = (
        list(dict.fromkeys(settings.get(name) or ())) for name in names
    )
    for loss in losses:
        LOSSES[loss]  # raises where there is none
    if not (backbones or attentions or losses):
        known = folder.entries()
        if not known:
            raise JobError(
                "Nothing to compare was named; name backbones, attention modules or losses, such "
                "as --backbones unet3d --attentions none,se,cbam."
            )
        return known
    return entries_of(
        backbones or [ModelConfig().backbone],
        attentions or [ModelConfig().attention],
        losses or [TrainConfig().loss],
        int(settings.get("seeds") or 1),
    )


def _dims(backbone: str, model: Mapping[str, Any]) -> int:
    from napari_attnseg.models.backbones import BACKBONES

    return int(model.get("dims") or BACKBONES[backbone].dims[0])


def _refused(
    entries: Sequence[Entry], model: Mapping[str, Any], dims: Mapping[str, int]
) -> dict[Entry, str]:
    """Return why combinations make no sense; a name that nothing has raises at once."""
    from napari_attnseg.models import ModelError, check_pair
    from napari_attnseg.models.contract import UnknownNameError
    from napari_attnseg.training.start import model_config

    refused: dict[Entry, str] = {}
    for entry in entries:
        given = {**model, "dims": dims[entry.backbone]}
        given |= {"backbone": entry.backbone, "attention": entry.attention}
        try:
            check_pair(model_config(given, channels=1, classes=1))
        except UnknownNameError:
            raise
        except ModelError as error:
            refused[entry] = str(error)
    return refused


def _concluded(
    folder: ComparisonFolder,
    entries: Sequence[Entry],
    refused: Mapping[Entry, str],
    troubles: Mapping[Entry, Trouble],
    settings: Mapping[str, Any],
) -> Event:
    """Write the comparison's files, and return what they hold."""
    from napari_attnseg.evaluation.compare import compare_trials
    from napari_attnseg.evaluation.compare_files import table, write_cases, write_table
    from napari_attnseg.inference.run import write_json_atomic

    trials = _trials(folder)
    rows = compare_trials(trials)
    classes = folder.project.classes
    missing = [one for one in entries if folder.result(one) is None]
    failed = {one.title: f"{troubles[one].text} {troubles[one].next_step}".strip()
              for one in missing if one in troubles}  # fmt: skip
    result: Event = {
        "comparison": str(folder.path),
        "shared": _facts(folder),
        "classes": {str(value): name for value, name in classes.items()},
        "rows": [row.to_json() for row in rows],
        "unfinished": [one.title for one in missing if one not in troubles],
        "failed": failed,
        "left_out": {one.title: reason for one, reason in refused.items()},
    }
    write_json_atomic(folder.path / "result.json", result)
    files = [folder.path / "table.csv", *([Path(settings["csv"])] if settings.get("csv") else [])]
    for file in files:
        write_table(file, rows, classes)
    write_cases(folder.path / "cases.csv", trials)
    if settings.get("report"):
        _write_report(Path(settings["report"]), folder, rows, result)
    return {**result, "table": table(rows, classes)}


def _write_report(
    path: Path, folder: ComparisonFolder, rows: Sequence[Row], result: Mapping[str, Any]
) -> None:
    from napari_attnseg.evaluation.compare_files import write_comparison_report

    title = f"Comparison of networks: {folder.project.name}, {folder.name}"
    write_comparison_report(
        path, rows, folder.project.classes, title=title, facts=[*facts_of(result)]
    )


def facts_of(result: Mapping[str, Any]) -> list[str]:
    """Return sentences on what all networks share and on what is missing."""
    shared = result["shared"]
    asked = shared["train"]
    length = " or ".join(f"{asked[name]:g} {name}" for name in LENGTHS if asked.get(name))
    facts = [
        f"Each network was trained for {length} on the same {shared['training_cases']} cases and "
        f"scored on the same {shared['validation_cases']} others, with its last weights."
    ]
    for dims, plan in shared["plans"].items():
        patch = " x ".join(map(str, plan["patch_size"]))
        facts.append(
            f"In {dims} dimensions: patches of {patch} voxels, {plan['batch_size']} a step."
        )
    facts += [f"Unfinished: {', '.join(result['unfinished'])}."] if result["unfinished"] else []
    facts += [f"{title} failed: {text}" for title, text in result["failed"].items()]
    facts += [f"{title} was left out: {text}" for title, text in result["left_out"].items()]
    return facts + list(shared["warnings"])


def _trials(folder: ComparisonFolder) -> list[Trial]:
    """Return all trainings of the comparison that have ended, with their scores."""
    from napari_attnseg.config import ModelConfig
    from napari_attnseg.evaluation.compare import Trial
    from napari_attnseg.models import describe_model

    trials: list[Trial] = []
    parameters: dict[str, int] = {}
    for entry in folder.entries():
        result = folder.result(entry)
        config = read_json(folder.run_dir(entry) / "config.json")
        if result is None or config is None:
            continue
        model = config["model"]
        key = json.dumps(model, sort_keys=True)
        if key not in parameters:
            parameters[key] = describe_model(ModelConfig.from_dict(model))["parameters"]
        cases = result["validation"]["cases"]
        trials.append(
            Trial(
                entry.backbone,
                entry.attention,
                entry.loss,
                entry.seed,
                parameters=parameters[key],
                seconds=float(result["seconds"]),
                cases={
                    name: {int(value): dice for value, dice in one.items()}
                    for name, one in cases.items()
                },
                run=str(folder.run_dir(entry).relative_to(folder.path)),
            )
        )
    return trials


def _facts(folder: ComparisonFolder) -> dict[str, Any]:
    """Return what all networks share, and sentences on where they do not."""
    content = folder.content() or {}
    plans: dict[str, Any] = {}
    warnings: list[str] = []
    for entry in folder.entries():
        plan = read_json(folder.run_dir(entry) / "plan.json") or {}
        first = plans.setdefault(str(plan.get("dims")), plan)
        if plan != first:
            warnings.append(f"{entry.title} was trained with another plan than the others.")
    kept = ("patch_size", "batch_size", "spacing_dhw", "widths", "strides")
    machines = _machines(folder)
    if len(machines) > 1:
        warnings.append(f"Not all were trained alike: {'; '.join(sorted(machines))}.")
    cases = content.get("cases") or {}
    return {
        "train": content.get("train") or {},
        "model": content.get("model") or {},
        "training_cases": len(cases.get("train") or ()),
        "validation_cases": len(cases.get("val") or ()),
        "plans": {dims: {name: one.get(name) for name in kept} for dims, one in plans.items()},
        "machine": ", ".join(sorted(machines)),
        "warnings": warnings,
    }


def _machines(folder: ComparisonFolder) -> set[str]:
    found: set[str] = set()
    for entry in folder.entries():
        config = read_json(folder.run_dir(entry) / "config.json") or {}
        if config.get("device"):
            words = f"{config['device']}, {config.get('threads')} threads"
            found.add(f"{words}, {config.get('precision')}")
    return found
