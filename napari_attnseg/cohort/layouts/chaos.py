"""CHAOS: DICOM slices in ``DICOM_anon`` with a PNG mask for each in ``Ground``, CT or MR.

A. E. Kavur et al., Medical Image Analysis 69 (2021). A T1-DUAL scan has two images of one grid, in
and out of phase, which share their masks; a T2-SPIR scan has a grid of its own. Each image is a
case of one patient, so that one network learns from all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_attnseg.cohort.browse import files_in, folder_named, folders_in, pictures_in
from napari_attnseg.cohort.case import Case, Cohort
from napari_attnseg.cohort.drawn import Pairing, pair_masks, sentences
from napari_attnseg.cohort.greys import CHAOS_MR, GreyMeaning, one_class
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.pairing import unlabelled
from napari_attnseg.io.dicom.preamble import is_dicom
from napari_attnseg.io.recipe import Recipe

_DICOM, _MASKS = "DICOM_anon", "Ground"
_SEQUENCES = ("T1DUAL", "T2SPIR")
_PHASES = ("InPhase", "OutPhase")


@dataclass(frozen=True)
class _Scan:
    name: str
    images: Path
    masks: Path | None


@LAYOUTS.register("chaos")
class Chaos:
    """CHAOS, CT or MR."""

    looks_for = f"{_DICOM} and {_MASKS} (CHAOS)"
    rank = 14

    def fit(self, folder: Path) -> Fit:
        """Return whether patients' folders hold DICOM_anon, alone or in T1DUAL and T2SPIR."""
        patients = folders_in(folder)
        if any(list(_scans(one)) for one in patients):
            return Fit()
        masks = [one.name for one in patients if folder_named(one, _MASKS)]
        if masks:
            return Fit(f"{masks[0]} holds a folder {_MASKS} but no {_DICOM}", 0.7)
        return Fit(f"no folder in it holds a folder {_DICOM}", 0.0)

    def load(self, folder: Path) -> Cohort:
        """Return a case for each image of each patient."""
        is_mr = any(_sequences(one) for one in folders_in(folder))
        meaning = CHAOS_MR if is_mr else one_class("liver")
        scans = [(scan, one.name) for one in folders_in(folder) for scan in _scans(one)]
        pairings = {scan.name: _pairing(scan) for scan, _ in scans if scan.masks}
        cases = [
            Case(scan.name, {"image": scan.images}, _label(scan, pairings, meaning), patient)
            for scan, patient in scans
        ]
        warnings = sentences(pairings)
        if pairings:
            without = [case.name for case in cases if case.name not in pairings]
            warnings += unlabelled(without)
        name = folder.resolve().name
        return Cohort(name, cases, meaning.classes, warnings=tuple(warnings))


def _pairing(scan: _Scan) -> Pairing:
    slices = [one for one in files_in(scan.images) if is_dicom(one)]
    return pair_masks(slices, pictures_in(scan.masks) if scan.masks else [])


def _label(scan: _Scan, pairings: Mapping[str, Pairing], meaning: GreyMeaning) -> Recipe | None:
    masks = pairings[scan.name].masks if scan.name in pairings else {}
    if not masks:
        return None
    names, files = tuple(masks), tuple(masks.values())
    return Recipe(files, meaning.ranges, drawn_on=scan.images, slices=names)


def _scans(patient: Path) -> Iterator[_Scan]:
    direct = folder_named(patient, _DICOM)
    if direct is not None:
        yield _Scan(patient.name, direct, folder_named(patient, _MASKS))
    for sequence in _sequences(patient):
        images, masks = folder_named(sequence, _DICOM), folder_named(sequence, _MASKS)
        assert images is not None
        phases = [one for name in _PHASES if (one := folder_named(images, name))]
        for phase in phases or [images]:
            ending = f"-{phase.name}" if phases else ""
            yield _Scan(f"{patient.name}-{sequence.name}{ending}", phase, masks)


def _sequences(patient: Path) -> list[Path]:
    named = [one for name in _SEQUENCES if (one := folder_named(patient, name))]
    return [one for one in named if folder_named(one, _DICOM)]
