"""Folders ``train`` and ``test``, each with ``images`` and ``masks``: MALC, HVSMR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from napari_attnseg.cohort.browse import folder_named
from napari_attnseg.cohort.case import Case, Cohort, natural
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.pairing import by_name, pair, volumes_in
from napari_attnseg.cohort.split import TEST, TRAIN, VALIDATION

_SETS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation"),
    TEST: ("test", "testing"),
}
_IMAGES, _LABELS = ("images", "image"), ("masks", "mask", "labels", "label")


@LAYOUTS.register("train-test")
class TrainTest:
    """Sets that the data set made itself."""

    looks_for = "train/images and train/masks"
    rank = 25

    def fit(self, folder: Path) -> Fit:
        """Return whether a folder of training cases holds images."""
        train = folder_named(folder, *_SETS[TRAIN])
        if train is None:
            return Fit("there is no folder train", 0.0)
        images = folder_named(train, *_IMAGES)
        if images is None:
            return Fit("the folder train holds no folder images", 0.6)
        if not volumes_in(images):
            return Fit("the folder train/images holds no volume", 0.7)
        return Fit()

    def load(self, folder: Path) -> Cohort:
        """Return the cases in the sets that they are given."""
        places = {name: folder_named(folder, *words) for name, words in _SETS.items()}
        cases: dict[str, Case] = {}
        warnings: list[str] = []
        for name, place in places.items():
            if place is None:
                continue
            # Without a validation set of its own, the training cases are divided as any others.
            given = name if places[VALIDATION] is not None and name != TEST else None
            for case in _cases(place, warnings, given, is_test=name == TEST):
                if case.name in cases:
                    warnings.append(f"{case.name} is in two sets; the first is taken.")
                cases.setdefault(case.name, case)
        found = sorted(cases.values(), key=lambda case: natural(case.name))
        return Cohort(folder.resolve().name, found, warnings=tuple(warnings))


def _cases(place: Path, warnings: list[str], given: str | None, *, is_test: bool) -> list[Case]:
    images, labels = folder_named(place, *_IMAGES), folder_named(place, *_LABELS)
    files, twice = by_name(volumes_in(images) if images else [])
    masks: Mapping[str, Path]
    masks, masks_twice = by_name(volumes_in(labels) if labels else [])
    pairs = pair(files, masks)
    warnings += [*twice, *masks_twice]
    if masks or not is_test:
        warnings += pairs.sentences()
    return [
        Case(
            name,
            {"image": path},
            pairs.labels.get(name),
            is_test=is_test,
            given_set=given,
        )
        for name, path in files.items()
    ]
