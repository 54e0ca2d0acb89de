"""A case, and a cohort of them as found on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_attnseg.io.recipe import Recipe, Source
from napari_attnseg.io.regions import Regions

ANONYMOUS_CHANNEL = "image"
"""Name of a channel that nobody named; several are ``image 1``, ``image 2``, ..."""

_BIDS_SUBJECT = re.compile(r"(?:^|_)(sub-[A-Za-z0-9]+)(?:_|$)")
_SUBJECT_WORD = re.compile(r"^((?:patient|subject|subj|pat|pt)[-_]?\d+)[-_].+$", re.IGNORECASE)
# The part before must hold a digit: "mri_scan_01" and "mri_scan_02" may well be two patients.
_REPEAT = re.compile(
    r"^(.*\d.*?)[-_]"
    r"(?:(?:ses|session|visit|timepoint|time|tp|scan|frame|phase|baseline|followup)[-_]?\d*"
    r"|left|right|lh|rh|l|r)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Case:
    """One examination: its images and, where there is one, its label.

    Args:
        name: Unique in the cohort.
        images: File by channel name, in the cohort's order, or how one is made of files. Where
            one file holds all channels, every channel names that file, and their order is that
            of the file.
        label: File of the label map, how it is made of files, or None.
        patient: Cases of one patient are never split between learning and checking.
        is_test: Whether the data set keeps this case for testing; it is then never learned from.
        given_set: The set that the data set puts it in, ``train`` or ``val``; None if it does not.
    """

    name: str
    images: Mapping[str, Source]
    label: Path | Recipe | None = None
    patient: str = ""
    is_test: bool = False
    given_set: str | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError(f"The case {self.name!r} has no image.")
        if not self.patient:
            object.__setattr__(self, "patient", patient_of(self.name))


@dataclass(frozen=True)
class Cohort:
    """Cases that belong together: same channels, same classes.

    Args:
        name: What the person calls it.
        cases: In natural order.
        classes: Name by label value, without the background 0; empty while unknown.
        channels: Names of the images of every case.
        warnings: What was odd, in sentences.
        ignore_label: Value in the labels that marks voxels nobody labelled, or None.
        regions: What overlapping regions the classes make up; none in most data sets.
    """

    name: str
    cases: Sequence[Case]
    classes: Mapping[int, str] = field(default_factory=dict)
    channels: tuple[str, ...] = (ANONYMOUS_CHANNEL,)
    warnings: tuple[str, ...] = ()
    ignore_label: int | None = None
    regions: Regions = field(default_factory=lambda: Regions({}))


def patient_of(name: str) -> str:
    """Return the patient that a case's name tells of; the name itself if it tells of none.

    Known are BIDS (``sub-01_ses-2``), ``patient007_frame01``, and endings that count visits or
    name a side, such as ``case12_visit2`` and ``case12_left``.
    """
    found = _BIDS_SUBJECT.search(name) or _SUBJECT_WORD.match(name)
    if found:
        return found.group(1)
    while found := _REPEAT.match(name):
        name = found.group(1)
    return name


def anonymous_channels(count: int) -> tuple[str, ...]:
    """Return names for channels that nobody named."""
    if count == 1:
        return (ANONYMOUS_CHANNEL,)
    return tuple(f"{ANONYMOUS_CHANNEL} {n}" for n in range(1, count + 1))


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts ``case_2`` before ``case_10``."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [
        (False, int(part), "") if part[0] in "0123456789" else (True, 0, part.casefold())
        for part in parts
    ]


def listed(names: Iterable[str], most: int = 3) -> str:
    """Return names for a sentence: the first few, then how many more there are."""
    names = sorted(names, key=natural)
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
