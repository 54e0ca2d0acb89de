"""The Medical Segmentation Decathlon: a ``dataset.json`` that lists every image and label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_attnseg.cohort import dataset_json
from napari_attnseg.cohort.case import Case, Cohort, anonymous_channels, listed, natural
from napari_attnseg.cohort.dataset_json import FILE, DatasetJsonError
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.pairing import orphans, unlabelled, volumes_in
from napari_attnseg.io import stem

_LISTS = ("training", "validation", "test")
_IMAGES, _LABELS = "imagesTr", "labelsTr"
_PATIENT_KEYS = ("patient", "patient_id", "subject", "subject_id")


@LAYOUTS.register("decathlon")
class Decathlon:
    """Medical Segmentation Decathlon."""

    looks_for = f"a {FILE} that lists images (Decathlon)"
    rank = 10

    def fit(self, folder: Path) -> Fit:
        """Return whether ``dataset.json`` lists images that are there."""
        try:
            content = dataset_json.read(folder)
        except DatasetJsonError as error:
            return Fit(str(error), 0.8)
        if content is None:
            return Fit(f"there is no {FILE}", 0.0)
        entries = _entries(content)
        if not entries:
            return Fit(f"{FILE} has no list of training images", 0.5)
        if not any((folder / entry.images[0]).is_file() for entry in entries):
            return Fit(f"{FILE} lists {entries[0].images[0]}, which is not there", 0.7)
        return Fit()

    def load(self, folder: Path) -> Cohort:
        """Return the listed cases; the list says which files belong to the data set."""
        content = dataset_json.read(folder) or {}
        classes, ignore = dataset_json.classes(content)
        found = _Found()
        entries = _entries(content)
        for entry in entries:
            _take(folder, entry, dataset_json.channels(content), found)
        found.warnings += _unlisted(folder, entries)
        channels = tuple(next(iter(found.cases.values())).images) if found.cases else ("image",)
        cases = sorted(found.cases.values(), key=lambda case: natural(case.name))
        name = dataset_json.name(content, folder)
        regions = dataset_json.regions(content)
        return Cohort(name, cases, classes, channels, found.sentences(), ignore, regions)


@dataclass(frozen=True)
class _Entry:
    images: tuple[str, ...]
    label: str | None
    patient: str
    is_test: bool


@dataclass
class _Found:
    cases: dict[str, Case] = field(default_factory=dict)
    missing_images: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    orphans: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def sentences(self) -> tuple[str, ...]:
        warnings = [*unlabelled(self.unlabelled), *orphans(self.orphans), *self.warnings]
        if self.missing_images:
            count = len(self.missing_images)
            images = "1 image that is" if count == 1 else f"{count} images that are"
            warnings.append(f"{FILE} lists {images} not there: {listed(self.missing_images)}.")
        return tuple(warnings)


def _entries(content: Mapping[str, Any]) -> list[_Entry]:
    entries = []
    for key in _LISTS:
        rows = content.get(key, ())
        for row in rows if isinstance(rows, Sequence) and not isinstance(rows, str) else ():
            row = {"image": row} if isinstance(row, str) else row
            if isinstance(row, Mapping) and (entry := _entry(row, is_test=key == "test")):
                entries.append(entry)
    return entries


def _entry(row: Mapping[str, Any], *, is_test: bool) -> _Entry | None:
    image = row.get("image")
    images = tuple(image) if isinstance(image, (list, tuple)) else (image,)
    if not images or not all(isinstance(one, str) and one for one in images):
        return None
    label = row.get("label")
    label = label[0] if isinstance(label, list) and len(label) == 1 else label
    patient = next((str(row[key]) for key in _PATIENT_KEYS if row.get(key)), "")
    return _Entry(images, label if isinstance(label, str) else None, patient, is_test)


def _take(folder: Path, entry: _Entry, channels: tuple[str, ...], found: _Found) -> None:
    images = [folder / one for one in entry.images]
    name = stem(images[0])
    label = folder / entry.label if entry.label else None
    missing = [one for one in entry.images if not (folder / one).is_file()]
    if missing:
        found.missing_images += missing
        if label is not None and label.is_file():
            found.orphans.append(label)
        return
    if name in found.cases:
        found.warnings.append(f"{FILE} lists {name} more than once; the first is taken.")
        return
    if label is not None and not label.is_file():
        label = None
    if label is None and not entry.is_test:
        found.unlabelled.append(name)
    named = _by_channel(images, channels)
    found.cases[name] = Case(name, named, label, entry.patient, is_test=entry.is_test)


def _by_channel(images: Sequence[Path], channels: tuple[str, ...]) -> dict[str, Path]:
    if len(images) == 1:
        return dict.fromkeys(channels or anonymous_channels(1), images[0])
    names = channels if len(channels) == len(images) else anonymous_channels(len(images))
    return dict(zip(names, images, strict=True))


def _unlisted(folder: Path, entries: Sequence[_Entry]) -> list[str]:
    """Return the warning about files beside the listed ones; nothing if there are none."""
    texts = [text for entry in entries for text in (*entry.images, entry.label) if text]
    known = {(folder / text).resolve() for text in texts}
    images, labels = (
        [one.name for one in volumes_in(folder / name) if one.resolve() not in known]
        for name in (_IMAGES, _LABELS)
    )
    if not images and not labels:
        return []
    counts = [(len(images), "image", _IMAGES), (len(labels), "label", _LABELS)]
    what = " and ".join(
        f"{count} {kind if count == 1 else kind + 's'} in {where}"
        for count, kind, where in counts
        if count
    )
    is_one = len(images) + len(labels) == 1
    return [
        f"{FILE} does not list {what}, which {'is' if is_one else 'are'} left out "
        f"({listed(images or labels)}). List {'it' if is_one else 'them'} there to have "
        f"{'it' if is_one else 'them'}."
    ]
