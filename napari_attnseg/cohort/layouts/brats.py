"""BraTS of every year: a folder a case, its images told apart by their names' endings.

2015 has MetaImage files in folders named ``VSD.Brain.XX.O.MR_Flair.*``, under ``HGG`` and ``LGG``;
2017 to 2021 have ``case_flair.nii.gz``; 2023 has ``case-t2f.nii.gz``. What a label value means
depends on the year; the regions whole tumour, tumour core and enhancing tumour do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_attnseg.cohort.browse import files_in, folders_in
from napari_attnseg.cohort.case import Case, Cohort, listed, natural
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.pairing import unlabelled
from napari_attnseg.io import known_suffix
from napari_attnseg.io.regions import Regions

CHANNELS = ("T1", "T1c", "T2", "FLAIR")
_CHANNEL_OF = {
    "t1": "T1", "t1n": "T1", "t1ce": "T1c", "t1c": "T1c", "t1gd": "T1c",
    "t2": "T2", "t2w": "T2", "flair": "FLAIR", "t2f": "FLAIR",
}  # fmt: skip


@dataclass(frozen=True)
class _Year:
    """One way of naming and of numbering classes.

    Args:
        case: What a case's folder is called; its group ``patient``, where there is one, is what
            the scans of one patient share.
        file: What a file is called; its group ``kind`` says which image it is, or that it is the
            label.
        label: Kinds that are the label.
        classes: Names by value.
        regions: Class values by region.
    """

    case: re.Pattern[str]
    file: re.Pattern[str]
    label: tuple[str, ...]
    classes: Mapping[int, str]
    regions: Regions


def _regions(whole: Sequence[int], core: Sequence[int], enhancing: Sequence[int]) -> Regions:
    parts = {"WT": whole, "TC": core, "ET": enhancing}
    return Regions({name: frozenset(values) for name, values in parts.items()})


_ENHANCING, _OEDEMA = "enhancing tumour", "oedema"
_NECROTIC = "necrotic and non-enhancing core"
_OLD_CLASSES = {1: "necrosis", 2: _OEDEMA, 3: "non-enhancing tumour", 4: _ENHANCING}
_OLD_REGIONS = _regions((1, 2, 3, 4), (1, 3, 4), (4,))
_NIFTI = r"\.(?:nii|nii\.gz)$"

YEARS = {
    "2015": _Year(
        re.compile(r"^(?P<patient>brats_.*?)(?:_\d+)?$", re.IGNORECASE),
        re.compile(r"^VSD\.Brain.*?\.O\.(?:MR_)?(?P<kind>[A-Za-z0-9]+)\.", re.IGNORECASE),
        ("ot",),
        _OLD_CLASSES,
        _OLD_REGIONS,
    ),
    "2015, normalised": _Year(
        re.compile(r"^(?P<patient>brats_.*?)(?:_\d+)?$", re.IGNORECASE),
        re.compile(r"^(?P<kind>flair|t1c|t1|t2|OTMultiClass)(?:_\w+)?" + _NIFTI, re.IGNORECASE),
        ("otmulticlass",),
        _OLD_CLASSES,
        _OLD_REGIONS,
    ),
    "2017 to 2019": _Year(
        re.compile(r"^(?P<patient>Brats1\d_.+?)(?:_\d+)?$", re.IGNORECASE),
        re.compile(r"^Brats1\d_.+_(?P<kind>t1ce|t1|t2|flair|seg)" + _NIFTI, re.IGNORECASE),
        ("seg",),
        {1: _NECROTIC, 2: _OEDEMA, 4: _ENHANCING},
        _regions((1, 2, 4), (1, 4), (4,)),
    ),
    "2020 and 2021": _Year(
        # The last number is the patient's own here: each has been scanned once.
        re.compile(r"^(?P<patient>BraTS(?:2\d|20\d\d)_.+)$", re.IGNORECASE),
        # One label of 2020 is published under the name W39_1998.09.19_Segm.nii.
        re.compile(
            r"^(?:BraTS(?:2\d|20\d\d)|W39)_.+_(?P<kind>t1ce|t1|t2|flair|segm|seg)" + _NIFTI,
            re.IGNORECASE,
        ),
        ("seg", "segm"),
        {1: _NECROTIC, 2: _OEDEMA, 4: _ENHANCING},
        _regions((1, 2, 4), (1, 4), (4,)),
    ),
    "2023": _Year(
        re.compile(r"^(?P<patient>BraTS-[A-Za-z]+-\d+)-\d+$", re.IGNORECASE),
        re.compile(r"^BraTS-.+-(?P<kind>t1n|t1c|t2w|t2f|seg)" + _NIFTI, re.IGNORECASE),
        ("seg",),
        {1: "necrotic core", 2: _OEDEMA, 3: _ENHANCING},
        _regions((1, 2, 3), (1, 3), (3,)),
    ),
}


@LAYOUTS.register("brats")
class BraTS:
    """BraTS, 2015 to 2023."""

    looks_for = "cases such as BraTS-GLI-00000-000 (BraTS)"
    rank = 12

    def fit(self, folder: Path) -> Fit:
        """Return whether folders of cases hold images named as in one of the years."""
        cases = _case_folders(folder)
        if not cases:
            return Fit("no folder is named as a case of BraTS", 0.0)
        year = _year_of(folder)
        if year is None:
            name = cases[0].name
            return Fit(f"{name} holds no image named as those of BraTS, such as {name}_t1", 0.7)
        return Fit()

    def load(self, folder: Path) -> Cohort:
        """Return the cases; a patient's scans share the patient."""
        name = _year_of(folder) or "2023"
        year = YEARS[name]
        found = {one.name: _files(one, year) for one in _case_folders(folder)}
        labels = {name: files.pop("label", None) for name, files in found.items()}
        channels = tuple(one for one in CHANNELS if any(one in files for files in found.values()))
        cases, lacking = [], []
        for name, files in found.items():
            if set(files) != set(channels):
                lacking.append(name)
                continue
            match = year.case.match(name)
            images = {channel: files[channel] for channel in channels}
            patient = match["patient"] if match else name
            cases.append(Case(name, images, labels[name], patient))
        warnings = _left_out(lacking, channels)
        if any(case.label for case in cases):
            warnings += unlabelled(case.name for case in cases if case.label is None)
        cases.sort(key=lambda case: natural(case.name))
        return Cohort(
            folder.resolve().name,
            cases,
            year.classes,
            channels or CHANNELS,
            tuple(warnings),
            regions=year.regions,
        )


def _left_out(lacking: Sequence[str], channels: Sequence[str]) -> list[str]:
    if not lacking:
        return []
    are = "1 case lacks" if len(lacking) == 1 else f"{len(lacking)} cases lack"
    return [
        f"{are} one of the images {', '.join(channels)} and "
        f"{'is' if len(lacking) == 1 else 'are'} left out: {listed(lacking)}."
    ]


def _case_folders(folder: Path) -> list[Path]:
    """Return the folders of cases, in the folder itself or in those of its grades."""
    found = []
    for one in folders_in(folder):
        if one.name.casefold() in ("hgg", "lgg"):
            found += [case for case in folders_in(one) if _is_case(case.name)]
        elif _is_case(one.name):
            found.append(one)
    return found


def _is_case(name: str) -> bool:
    return any(year.case.match(name) for year in YEARS.values())


def _year_of(folder: Path) -> str | None:
    cases = _case_folders(folder)
    for name, year in YEARS.items():
        if any(year.case.match(one.name) and _has_image(_files(one, year)) for one in cases[:5]):
            return name
    return None


def _has_image(files: Mapping[str, Path]) -> bool:
    return any(channel in files for channel in CHANNELS)


def _files(case: Path, year: _Year) -> dict[str, Path]:
    """Return a case's file by channel, and its ``label``."""
    files = [one for one in files_in(case) if known_suffix(one)]
    # In 2015 each image has a folder of its own; some mirrors have one for each file's name too.
    files += [file for one in folders_in(case) for file in files_in(one) if known_suffix(file)]
    found: dict[str, Path] = {}
    for file in files:
        match = year.file.match(file.name)
        if match is None:
            continue
        kind = match["kind"].casefold()
        name = "label" if kind in year.label else _CHANNEL_OF.get(kind)
        if name is not None:
            found.setdefault(name, file)
    return found
