"""Cases as the project file holds them, and how a cohort's cases become such entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_attnseg.cohort import sources
from napari_attnseg.cohort.case import ANONYMOUS_CHANNEL, Case, Cohort, listed, natural
from napari_attnseg.cohort.content_check import STATUSES
from napari_attnseg.cohort.grids import on_one_grid
from napari_attnseg.cohort.label_values import placeholder
from napari_attnseg.cohort.ledger import FILE, FORMAT, ProjectError, told_plainly
from napari_attnseg.cohort.split import TEST, assign_sets
from napari_attnseg.io.paths import real_path
from napari_attnseg.io.recipe import Source
from napari_attnseg.io.regions import Regions

UNLABELLED, DRAFT, CORRECTED, APPROVED = STATUSES

Content = dict[str, Any]


@dataclass
class Added:
    """What adding a cohort brought: warnings, and cases that have just got a label."""

    warnings: list[str] = field(default_factory=list)
    labelled: list[Case] = field(default_factory=list)


def empty_content(name: str, seed: int, test_fraction: float) -> Content:
    """Return the content of a project without cases."""
    return {
        "format": FORMAT,
        "name": name,
        "seed": seed,
        "test_fraction": test_fraction,
        "classes": {},
        "named": False,
        "ignore_label": None,
        "channels": [],
        "regions": {},
        "resample_modalities": False,
        "cases": {},
    }


def facts(content: Content) -> Content:
    """Return what a project's content says of all cases, as JSON-ready values."""
    return {
        "classes": dict(content["classes"]),
        "channels": list(content["channels"]),
        "regions": Regions.from_json(content.get("regions")).to_json(),
        "resample_modalities": bool(content.get("resample_modalities")),
    }


def add_cases(content: Content, cohort: Cohort, folder: Path) -> list[str]:
    """Enter a cohort's cases into a project's content; return warnings in sentences.

    Cases that are known by name stay as they are, set included; one that now has a label gets
    it, and one whose files have moved is followed.

    Raises:
        ProjectError: If the cohort has other channels, or means other things by a value.
    """
    channels = _agreed_channels(content, cohort)
    _agree_on_classes(content, cohort)
    _agree_on_regions(content, cohort)
    added = Added(list(cohort.warnings))
    kept_apart = []
    for case in cohort.cases:
        images = dict(zip(channels, case.images.values(), strict=True))
        images = _in_order(images, content["channels"], cohort.name)
        if content.get("resample_modalities"):
            images = on_one_grid(images, case.label)
        if not _enter(content["cases"], case, images, folder, added):
            kept_apart.append(case.name)
    if kept_apart:
        added.warnings.append(
            f"The project already has other images under the name {listed(kept_apart)}; those of "
            f"{cohort.name} are left out. Rename them to add them."
        )
    content["cases"] = dict(sorted(content["cases"].items(), key=lambda one: natural(one[0])))
    _give_sets(content, [case for case in added.labelled if not case.is_test])
    return added.warnings


def give_set(content: Content, name: str) -> None:
    """Give a case its set, now that it has a label; nothing changes if it has one."""
    entry = content["cases"][name]
    _give_sets(content, [Case(name, {ANONYMOUS_CHANNEL: ""}, None, entry["patient"])])


def resample_modalities(content: Content, folder: Path) -> list[str]:
    """Put the images of every case on one grid, now and for those that follow.

    Returns:
        The cases whose images were on several.
    """
    content["resample_modalities"] = True
    moved = []
    for name, entry in content["cases"].items():
        stored = {channel: real_path(one, folder) for channel, one in entry["images"].items()}
        label = real_path(entry["label"], folder) if entry["label"] else None
        images = on_one_grid(stored, label)
        if images != stored:
            entry["images"] = _kept(images, name, folder)
            moved.append(name)
    return moved


def _enter(
    entries: Content, case: Case, images: Mapping[str, Source], folder: Path, added: Added
) -> bool:
    """Add or complete one entry; return whether the case is that of the entry."""
    entry = entries.get(case.name)
    if entry is None:
        label = _kept({"label": case.label}, case.name, folder)["label"] if case.label else None
        entries[case.name] = {
            "images": _kept(images, case.name, folder),
            "label": label,
            "patient": case.patient,
            "set": TEST if case.is_test else None,
            "status": APPROVED if label else UNLABELLED,
            "values": None,
        }
        if label:
            added.labelled.append(case)
        return True
    if not sources.are_same(images.values(), entry["images"].values(), folder):
        if sources.exist(entry["images"].values(), folder):
            return False
        entry["images"] = _kept(images, case.name, folder)
        if case.label:
            entry["label"] = _kept({"label": case.label}, case.name, folder)["label"]
    if case.label and (entry["label"] is None or not sources.exist([entry["label"]], folder)):
        entry["label"] = _kept({"label": case.label}, case.name, folder)["label"]
        entry["values"] = None
        if entry["status"] == UNLABELLED:
            entry["status"] = APPROVED
            added.labelled.append(case)
    return True


def _kept(parts: Mapping[str, Source], name: str, folder: Path) -> dict[str, str]:
    """Return how the project file tells of a case's images or label; recipes are written."""
    # Channels that one source holds all name it.
    first = {id(parts[part]): part for part in reversed(list(parts))}
    told = {part: sources.told(one, name, first[id(one)], folder) for part, one in parts.items()}
    with told_plainly(folder / FILE):
        sources.keep(((parts[part], told[part]) for part in parts), folder)
    return told


def _give_sets(content: Content, cases: Sequence[Case]) -> None:
    entries = content["cases"]
    taken = {one["patient"] for one in entries.values() if one["set"]}
    for case in cases:
        # A patient whose set is known stays in it, whatever a data set says.
        if case.given_set and case.patient not in taken:
            entries[case.name]["set"] = case.given_set
    sets = assign_sets(
        {name: entry["set"] for name, entry in entries.items() if entry["set"]},
        [(case.name, entries[case.name]["patient"]) for case in cases],
        content["seed"],
        content["test_fraction"],
        {name: entry["patient"] for name, entry in entries.items()},
    )
    for name, its_set in sets.items():
        entries[name]["set"] = its_set


def _agreed_channels(content: Content, cohort: Cohort) -> list[str]:
    """Return the project's name for each channel of a cohort, in the cohort's order.

    Raises:
        ProjectError: If the channels are others.
    """
    mine, theirs = content["channels"], list(cohort.channels)
    if not content["cases"] or not mine:
        content["channels"] = theirs
        return theirs
    if len(mine) == len(theirs):
        folded = {name.casefold(): name for name in mine}
        if all(name.casefold() in folded for name in theirs):
            return [folded[name.casefold()] for name in theirs]
        if _are_anonymous(theirs) or _are_anonymous(mine):
            return list(mine)
    raise ProjectError(
        f"The project's cases have the images {', '.join(mine)}; those of {cohort.name} have "
        f"{', '.join(theirs)}. Make another project for them."
    )


def _in_order(
    images: Mapping[str, Source], channels: Sequence[str], cohort: str
) -> dict[str, Source]:
    """Return a case's images in the project's order, which is that of a network's channels.

    Raises:
        ProjectError: If one file holds them in another order.
    """
    if list(images) != list(channels) and len(set(images.values())) < len(images):
        raise ProjectError(
            f"The project's images come in the order {', '.join(channels)}, and the files of "
            f"{cohort} hold them in another order ({', '.join(images)}). Make another project "
            "for them."
        )
    return {channel: images[channel] for channel in channels}


def _are_anonymous(channels: Sequence[str]) -> bool:
    return all(name.split(" ")[0] == ANONYMOUS_CHANNEL for name in channels)


def _agree_on_classes(content: Content, cohort: Cohort) -> None:
    classes, mine = content["classes"], dict(content["classes"])
    for value, name in cohort.classes.items():
        known = mine.get(str(value))
        if known is None or known == placeholder(value):
            classes[str(value)] = name
        elif name != placeholder(value) and known.casefold() != name.casefold():
            raise ProjectError(
                f"In the project the label value {value} means {known!r}, in {cohort.name} it "
                f"means {name!r}. Make another project for these cases."
            )
    content["named"] = content["named"] or bool(cohort.classes)
    content["classes"] = dict(sorted(classes.items(), key=lambda one: int(one[0])))
    if content["ignore_label"] is None:
        content["ignore_label"] = cohort.ignore_label


def _agree_on_regions(content: Content, cohort: Cohort) -> None:
    mine = Regions.from_json(content.get("regions"))
    for name, values in cohort.regions:
        if mine.members.get(name, values) != values:
            raise ProjectError(
                f"In the project the region {name} has the values {sorted(mine.members[name])}, "
                f"in {cohort.name} {sorted(values)}. Make another project for these cases."
            )
    content["regions"] = Regions({**cohort.regions.members, **mine.members}).to_json()
