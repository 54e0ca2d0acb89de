"""BIDS: images in ``sub-*/[ses-*/]anat``, labels in ``derivatives/<name>/sub-*/...``.

K. J. Gorgolewski et al., Scientific Data 3 (2016). A channel is an image's suffix (``T1w``), with
what else tells it from another image of its session (``acq-``, ``ce-``). A session is a case; the
sessions of a subject are one patient.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_attnseg.cohort.browse import folder_named, folders_in
from napari_attnseg.cohort.case import Case, Cohort, listed, natural
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.pairing import bare_name, unlabelled, volumes_in
from napari_attnseg.io import known_suffix

_DERIVATIVES = "derivatives"
_LABEL_SUFFIXES = ("dseg", "mask", "seg", "lesion")
_NO_IMAGES = (*_LABEL_SUFFIXES, "probseg", "defacemask")
_SEG_WORD = re.compile(r"^(?:seg|label|lesion|mask|gmseg)(?:-\w+)?$", re.IGNORECASE)
_OF_CASE = ("sub", "ses", "run")
_TABLES = ("*_dseg.tsv", "dseg.tsv")


@dataclass(frozen=True)
class _File:
    """A file by what its name tells."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def case(self) -> str:
        """Name of its session: ``sub-01_ses-2``, or ``sub-01``."""
        given = (f"{key}-{self.entities[key]}" for key in ("sub", "ses") if key in self.entities)
        return "_".join(given)

    @property
    def kind(self) -> str:
        """What it shares with the same image or label of other cases."""
        more = [f"{key}-{value}" for key, value in self.entities.items() if key not in _OF_CASE]
        return "_".join([*more, self.suffix])


@dataclass
class _Labels:
    """The labels of one kind, by case, with its place."""

    place: Path
    kind: str
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.place.name}/{self.kind}"

    @property
    def order(self) -> tuple[int, bool, bool, str]:
        """Sorts the most useful kind first: most cases, in the image's own space, dseg."""
        is_moved = "space-" in self.kind and "space-orig" not in self.kind
        return -len(self.files), is_moved, not self.kind.endswith("dseg"), self.title


@LAYOUTS.register("bids")
class Bids:
    """BIDS with labels in its derivatives."""

    looks_for = "sub-*/anat and derivatives (BIDS)"
    rank = 13

    def fit(self, folder: Path) -> Fit:
        """Return whether folders of subjects hold images."""
        subjects = _subjects(folder)
        if not subjects:
            return Fit("there is no folder sub-*", 0.0)
        if not any(list(_images(one)) for one in subjects):
            return Fit(f"{subjects[0].name} holds no image such as anat/*_T1w.nii.gz", 0.7)
        return Fit()

    def load(self, folder: Path) -> Cohort:
        """Return a case for each session."""
        images: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
        for subject in _subjects(folder):
            for one in _images(subject):
                images[one.case][one.kind].append(one.path)
        chosen, warnings = _chosen(_labels(folder))
        labels = chosen.files if chosen else {}
        channels, told = _channels(images, labels)
        warnings += told
        cases = [
            Case(
                name,
                {channel: kinds[channel][0] for channel in channels},
                labels.get(name),
                name.split("_")[0],
            )
            for name, kinds in images.items()
            if all(channel in kinds for channel in channels)
        ]
        warnings += _repeated(images, channels)
        if labels:
            warnings += unlabelled(case.name for case in cases if case.label is None)
        cases.sort(key=lambda case: natural(case.name))
        classes = _classes(folder, chosen) if chosen else {}
        name = folder.resolve().name
        return Cohort(name, cases, classes, channels, tuple(warnings))


def _subjects(folder: Path) -> list[Path]:
    return [one for one in folders_in(folder) if one.name.startswith("sub-")]


def _images(subject: Path) -> Iterator[_File]:
    """Yield a subject's images: those of the first kind of data that has any, anatomy first."""
    sessions = [one for one in folders_in(subject) if one.name.startswith("ses-")] or [subject]
    for session in sessions:
        places = sorted(folders_in(session), key=lambda one: one.name != "anat")
        for place in places:
            found = [one for one in map(_named, volumes_in(place)) if one and _is_image(one)]
            yield from found
            if found:
                break


def _named(path: Path) -> _File | None:
    """Return what a name such as ``sub-01_ses-2_ce-gd_T1w`` tells; None if it is none of these."""
    words = bare_name(path).split("_")
    entities: dict[str, str] = {}
    suffix = ""
    for word in words:
        key, dash, value = word.partition("-")
        if dash and value and key.isalnum():
            entities[key] = value
        else:
            suffix = f"{suffix}_{word}" if suffix else word
    # Older data sets end in a word such as T2w_seg-manual, after the image's own suffix.
    if not suffix or not words[0].startswith("sub-"):
        return None
    return _File(path, entities, suffix)


def _is_image(one: _File) -> bool:
    is_label = any(_SEG_WORD.match(key) for key in one.entities)
    return not is_label and one.suffix.split("_")[-1] not in _NO_IMAGES


def _is_label(one: _File) -> bool:
    is_told = any(_SEG_WORD.match(key) for key in ("seg", "label") if key in one.entities)
    last = one.suffix.split("_")[-1]
    return last in _LABEL_SUFFIXES or (is_told and last not in ("probseg",))


def _labels(folder: Path) -> list[_Labels]:
    """Return the labels of each kind, in the derivatives and beside the images."""
    found: dict[tuple[str, str], _Labels] = {}
    derivatives = folder_named(folder, _DERIVATIVES)
    for root in (*([derivatives] if derivatives else []), *_subjects(folder)):
        for path in sorted(root.rglob("sub-*")):
            named = _named(path) if known_suffix(path) and path.is_file() else None
            if named is None or not _is_label(named):
                continue
            above = path.relative_to(folder).parts[:-1]
            pipeline = "/".join(one for one in above[: _depth_of_subject(above)])
            key = pipeline, named.kind
            labels = found.setdefault(key, _Labels(folder / pipeline, named.kind))
            labels.files.setdefault(named.case, path)
    return list(found.values())


def _depth_of_subject(parts: Sequence[str]) -> int:
    return next((at for at, part in enumerate(parts) if part.startswith("sub-")), len(parts))


def _chosen(found: Iterable[_Labels]) -> tuple[_Labels | None, list[str]]:
    """Return the kind of labels that serves most cases, and what is said of the others."""
    kinds = sorted(found, key=lambda one: one.order)
    if len(kinds) < 2:
        return (kinds[0] if kinds else None), []
    others = listed(one.title for one in kinds[1:])
    return kinds[0], [
        f"There are several kinds of labels. {kinds[0].title} is taken; {others} "
        f"{'is' if len(kinds) == 2 else 'are'} not. To have another, leave only it in a copy of "
        "the folder."
    ]


def _channels(
    images: Mapping[str, Mapping[str, Sequence[Path]]], labels: Mapping[str, Path]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the images that every case with a label has, and what is left out for it."""
    needing = [name for name in images if name in labels] or list(images)
    count = Counter(kind for name in needing for kind in images[name])
    channels = sorted(kind for kind in count if count[kind] == len(needing))
    if not channels and count:
        channels = [min(count, key=lambda kind: (-count[kind], kind))]
    warnings = []
    rest = sorted({kind for kinds in images.values() for kind in kinds} - set(channels))
    if rest:
        warnings.append(f"Not every case has {listed(rest)}, so {_it(rest)} left out.")
    lacking = [name for name, kinds in images.items() if not set(channels) <= set(kinds)]
    if lacking:
        warnings.append(
            f"{len(lacking)} {'session lacks' if len(lacking) == 1 else 'sessions lack'} one of "
            f"{', '.join(channels)} and {_it(lacking)} left out: {listed(lacking)}."
        )
    return tuple(channels), warnings


def _repeated(
    images: Mapping[str, Mapping[str, Sequence[Path]]], channels: Sequence[str]
) -> list[str]:
    names = [name for name, kinds in images.items() if any(len(kinds[c]) > 1 for c in channels
             if c in kinds)]  # fmt: skip
    return [f"Of several runs the first is taken: {listed(names)}."] if names else []


def _classes(folder: Path, labels: _Labels) -> dict[int, str]:
    """Return class names from the nearest table, or that of a mask from its own name."""
    first = next(iter(labels.files.values()))
    own = first.with_name(f"{bare_name(first)}.tsv")
    tables = [own] if own.is_file() else []
    for place in (*first.parents[: len(first.relative_to(folder).parts)],):
        tables += [one for pattern in _TABLES for one in sorted(place.glob(pattern))]
    for table in tables:
        names = _table(table)
        if names:
            return names
    label = re.search(r"(?:^|_)(?:label|desc)-([A-Za-z0-9]+)_.*mask$", labels.kind)
    return {1: label[1]} if label else {}


def _table(path: Path) -> dict[int, str]:
    """Return the names in a table with the columns ``index`` and ``name``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        named = {int(row["index"]): str(row["name"]).strip() for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    count = Counter(named.values())
    return {
        value: name if count[name] == 1 else f"{name} ({value})"
        for value, name in sorted(named.items())
        if value > 0 and name
    }


def _it(names: Sequence[str]) -> str:
    return "it is" if len(names) == 1 else "they are"
