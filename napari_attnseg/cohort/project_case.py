"""A case of a project, and where its labels lie."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_attnseg.cohort.case import listed
from napari_attnseg.cohort.split import TEST, VALIDATION
from napari_attnseg.io.paths import real_path

_SET_WORDS = {VALIDATION: "validation", TEST: "test"}

LABEL_SUFFIX = ".nii.gz"


@dataclass(frozen=True)
class ProjectCase:
    """A case of a project.

    Args:
        name: Unique in the project.
        images: Absolute path by channel, in the project's order; channels that name one file are
            its channels in that order.
        label: The label to learn from and to compare with: the user's, or else the one that
            came with the images; None if there is neither.
        set: ``train``, ``val``, ``test``, or None while it has no label.
        status: ``unlabelled``, ``draft``, ``corrected`` or ``approved``.
        patient: Cases of one patient share a set.
        draft: Labels that are not finished; None if there are none.
    """

    name: str
    images: Mapping[str, Path]
    label: Path | None
    set: str | None
    status: str
    patient: str
    draft: Path | None = None

    @property
    def newest_label(self) -> Path | None:
        """What a person sees on opening the case: the draft where there is one."""
        return self.draft or self.label


def label_file(folder: Path, name: str) -> Path:
    """Return where the user's finished labels of a case lie in a project folder."""
    return folder / "labels" / f"{name}{LABEL_SUFFIX}"


def draft_file(folder: Path, name: str) -> Path:
    """Return where the user's unfinished labels of a case lie in a project folder."""
    return folder / "labels" / "drafts" / f"{name}{LABEL_SUFFIX}"


def case_of(name: str, entry: Mapping[str, Any], folder: Path) -> ProjectCase:
    """Return the case that an entry of the project file stands for."""
    label, draft = label_file(folder, name), draft_file(folder, name)
    original = real_path(entry["label"], folder) if entry["label"] else None
    return ProjectCase(
        name=name,
        images={channel: real_path(path, folder) for channel, path in entry["images"].items()},
        label=label if label.is_file() else original,
        set=entry["set"],
        status=entry["status"],
        patient=entry["patient"],
        draft=draft if draft.is_file() else None,
    )


def row(case: ProjectCase) -> dict[str, Any]:
    """Return a case as JSON-ready values."""
    label = case.newest_label
    return {
        "case": case.name,
        "images": {channel: str(path) for channel, path in case.images.items()},
        "label": str(label) if label is not None else None,
        "set": case.set,
        "status": case.status,
    }


def why_not_learnable(case: ProjectCase) -> str | None:
    """Return why a case must not be learned from, or None if it may be."""
    if case.set in _SET_WORDS:
        return (
            f"{case.name} is one of the fixed {_SET_WORDS[case.set]} cases, on which every run is "
            "checked; scores on a case that was learned from would mean nothing. Learn from "
            "another case."
        )
    if case.label is None:
        what = "only a draft" if case.draft else "no label"
        return f"{case.name} has {what}; finish its labels before learning from it."
    return None


def no_such_case(name: str, known: Iterable[str]) -> str:
    """Return the sentence about a case that is not there, with the one that was perhaps meant."""
    known = list(known)
    if not known:
        return f"The project has no case named {name!r}, and no other; add a folder of cases."
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Its cases are {listed(known)}."
    return f"The project has no case named {name!r}. {hint}"
