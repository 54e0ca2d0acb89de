"""Slices of many subjects in ``{train,val,test}/{Img,GT}/Subj_<X>slice_<Y>.png``.

All slices of a subject make its volume. A. Sinha and J. Dolz keep CHAOS so, whose grey values
63, 126, 189 and 252 are liver, right kidney, left kidney and spleen.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from napari_attnseg.cohort.browse import folder_named, pictures_in
from napari_attnseg.cohort.case import Case, Cohort, natural
from napari_attnseg.cohort.greys import GreyMeaning, meaning_of
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.split import TEST, TRAIN, VALIDATION
from napari_attnseg.io.recipe import Recipe

_SETS = {TRAIN: ("train",), VALIDATION: ("val", "valid", "validation"), TEST: ("test",)}
_IMAGES, _LABELS = ("Img", "Imgs", "Images"), ("GT", "Masks", "Labels")
_SLICE = re.compile(
    r"^(?P<subject>.*?\w)[-_ ]?slice[-_ ]?(?P<number>\d+)(?:[-_](?:gt|mask|seg|label))?\.\w+$",
    re.IGNORECASE,
)

Subjects = dict[str, dict[int, Path]]


@LAYOUTS.register("slices")
class SubjectSlices:
    """Slices of many subjects in one folder."""

    looks_for = "train/Img/Subj_1slice_1.png and train/GT"
    rank = 16

    def fit(self, folder: Path) -> Fit:
        """Return whether the training images are slices named by subject and number."""
        train = folder_named(folder, *_SETS[TRAIN])
        images = folder_named(train, *_IMAGES) if train else None
        if images is None:
            return Fit("there is no folder train/Img", 0.3 if train else 0.0)
        if not _subjects(images):
            pictures = pictures_in(images)
            closeness = 0.75 if pictures else 0.5
            return Fit(f"train/{images.name} holds no slice such as Subj_1slice_1.png", closeness)
        return Fit()

    def load(self, folder: Path) -> Cohort:
        """Return a case for each subject, in the sets that the data set has given them."""
        places = {name: folder_named(folder, *words) for name, words in _SETS.items()}
        found = {name: _subjects_of(place) for name, place in places.items() if place}
        warnings: list[str] = []
        masks = [file for _, labels in found.values() for one in labels.values() for file in
                 one.values()]  # fmt: skip
        meaning = meaning_of(masks, warnings)
        sets = _set_by_subject(found, warnings)
        cases = []
        for name, (images, labels) in found.items():
            for subject, slices in images.items():
                label = _label(subject, slices, labels.get(subject), meaning, warnings)
                where = _name(subject, name, found)
                image = Recipe(tuple(slices[n] for n in sorted(slices)))
                given = sets[subject] if places[VALIDATION] is not None else None
                cases.append(
                    Case(
                        where,
                        {"image": image},
                        label,
                        subject,
                        is_test=sets[subject] == TEST,
                        given_set=None if given == TEST else given,
                    )
                )
        cases.sort(key=lambda case: natural(case.name))
        warnings.append("Pictures do not say how large voxels are; 1 mm is taken.")
        name = folder.resolve().name
        return Cohort(name, cases, meaning.classes, warnings=tuple(warnings))


def _subjects_of(place: Path) -> tuple[Subjects, Subjects]:
    images, labels = folder_named(place, *_IMAGES), folder_named(place, *_LABELS)
    return _subjects(images) if images else {}, _subjects(labels) if labels else {}


def _subjects(folder: Path) -> Subjects:
    """Return the slices in a folder by subject and number."""
    found: Subjects = defaultdict(dict)
    for one in pictures_in(folder):
        match = _SLICE.match(one.name)
        if match:
            found[match["subject"].rstrip("_- ")][int(match["number"])] = one
    return dict(found)


def _set_by_subject(
    found: Mapping[str, tuple[Subjects, Subjects]], warnings: list[str]
) -> dict[str, str]:
    """Return the one set of each subject; one in several is not learned from."""
    sets: dict[str, str] = {}
    for name, (images, _) in found.items():
        for subject in images:
            if subject in sets:
                warnings.append(
                    f"Slices of {subject} are in {sets[subject]} and in {name}; a patient that "
                    f"is checked on is not learned from, so all of them are taken for {name}."
                )
            sets[subject] = name
    return sets


def _name(subject: str, its_set: str, found: Mapping[str, tuple[Subjects, Subjects]]) -> str:
    is_repeated = sum(subject in images for images, _ in found.values()) > 1
    return f"{subject}-{its_set}" if is_repeated else subject


def _label(
    subject: str,
    images: Mapping[int, Path],
    masks: Mapping[int, Path] | None,
    meaning: GreyMeaning,
    warnings: list[str],
) -> Recipe | None:
    if not masks:
        return None
    if set(masks) != set(images):
        lacking, alone = len(set(images) - set(masks)), len(set(masks) - set(images))
        warnings.append(
            f"Of {len(images)} slices of {subject} {lacking} have no mask, and {alone} masks no "
            "slice; it is kept as unlabelled."
        )
        return None
    return Recipe(tuple(masks[n] for n in sorted(masks)), meaning.ranges)
