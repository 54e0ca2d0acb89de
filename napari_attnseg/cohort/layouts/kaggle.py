"""The LGG data of Kaggle: a folder a patient with ``*_N.tif`` and ``*_N_mask.tif``.

A picture is a slice whose three colours are three images: before contrast, FLAIR, after contrast.
M. Buda et al., Computers in Biology and Medicine 109 (2019).
"""

from __future__ import annotations

import re
from pathlib import Path

from napari_attnseg.cohort.browse import folder_named, folders_in, pictures_in
from napari_attnseg.cohort.case import Case, Cohort, listed
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.io.recipe import GreyRange, Recipe

CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")
CLASSES = {1: "FLAIR abnormality"}
_NAME = "kaggle_3m"
_SLICE = re.compile(r"^.+_(?P<number>\d+)(?P<mask>_mask)?\.tiff?$", re.IGNORECASE)
_GREYS = (GreyRange(1, 1, 1), GreyRange(255, 255, 1))


@LAYOUTS.register("kaggle")
class Kaggle:
    """LGG segmentation of Kaggle (kaggle_3m)."""

    looks_for = "slices *_1.tif and *_1_mask.tif (kaggle_3m)"
    rank = 18

    def fit(self, folder: Path) -> Fit:
        """Return whether folders of patients hold slices, and masks beside them."""
        patients = folders_in(folder_named(folder, _NAME) or folder)
        first = next((one for one in patients if any(_slices(one))), None)
        if first is None:
            closeness = 0.6 if folder.name.casefold() == _NAME else 0.0
            return Fit("no folder in it holds slices such as *_1.tif", closeness)
        if not _slices(first)[1]:
            return Fit(f"{first.name} holds slices but no masks such as *_1_mask.tif", 0.7)
        return Fit()

    def load(self, folder: Path) -> Cohort:
        """Return a case for each patient."""
        cases, incomplete = [], []
        for patient in folders_in(folder_named(folder, _NAME) or folder):
            images, masks = _slices(patient)
            if not images:
                continue
            label = None
            if masks and set(masks) == set(images):
                label = Recipe(tuple(masks[number] for number in sorted(masks)), _GREYS)
            elif masks:
                incomplete.append(patient.name)
            image = Recipe(tuple(images[number] for number in sorted(images)))
            of_all = dict.fromkeys(CHANNELS, image)
            cases.append(Case(patient.name, of_all, label, patient.name))
        warnings = []
        if incomplete:
            count = len(incomplete)
            warnings.append(
                f"{count} {'case has' if count == 1 else 'cases have'} masks of some slices only "
                f"and {'is' if count == 1 else 'are'} kept as unlabelled: {listed(incomplete)}."
            )
        warnings.append("Pictures do not say how large voxels are; 1 mm is taken.")
        name = folder.resolve().name
        return Cohort(name, cases, CLASSES, CHANNELS, tuple(warnings))


def _slices(patient: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """Return a patient's pictures and masks by number."""
    images: dict[int, Path] = {}
    masks: dict[int, Path] = {}
    for one in pictures_in(patient):
        match = _SLICE.match(one.name)
        if match:
            (masks if match["mask"] else images)[int(match["number"])] = one
    return images, masks
