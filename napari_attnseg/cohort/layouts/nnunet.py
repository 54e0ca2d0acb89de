"""nnU-Net's raw data: ``imagesTr/case_0000.nii.gz`` for each channel, ``labelsTr/case.nii.gz``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_attnseg.cohort import dataset_json
from napari_attnseg.cohort.case import Case, Cohort, anonymous_channels, listed, natural
from napari_attnseg.cohort.dataset_json import FILE, DatasetJsonError
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.pairing import by_name, channel_files, pair, volumes_in

IMAGES, LABELS = "imagesTr", "labelsTr"
TEST_IMAGES, TEST_LABELS = "imagesTs", "labelsTs"

Files = dict[str, dict[int, Path]]


@LAYOUTS.register("nnunet")
class NnUNet:
    """nnU-Net raw."""

    looks_for = f"{IMAGES}/*_0000 and {LABELS} (nnU-Net)"
    rank = 20

    def fit(self, folder: Path) -> Fit:
        """Return whether the images are named by channel, or listed as nnU-Net lists them."""
        try:
            content = dataset_json.read(folder) or {}
        except DatasetJsonError as error:
            return Fit(str(error), 0.75)
        if isinstance(content.get("dataset"), Mapping):
            return Fit()
        if not (folder / IMAGES).is_dir():
            return Fit(f"there is no folder {IMAGES}", 0.6 if content else 0.0)
        files = volumes_in(folder / IMAGES)
        if not files:
            return Fit(f"{IMAGES} holds no volume", 0.75)
        grouped = channel_files(by_name(files)[0])
        if not grouped:
            return Fit(f"the images in {IMAGES} do not end in _0000", 0.75)
        labels = by_name(volumes_in(folder / LABELS))[0]
        if content or not labels or set(grouped) & set(labels):
            return Fit()
        return Fit(f"no label in {LABELS} has the name of an image without its _0000", 0.75)

    def load(self, folder: Path) -> Cohort:
        """Return the training cases, and the test cases beside them."""
        content = dataset_json.read(folder) or {}
        classes, ignore = dataset_json.classes(content)
        files, labels, warnings = _training(folder, content)
        names = dataset_json.channels(content)
        count = max((max(one) + 1 for one in files.values()), default=1)
        channels = names if len(names) >= count else anonymous_channels(count)
        found = _Found(channels, list(warnings))
        found.take(files, labels, is_test=False)
        test_files, test_labels, test_warnings = _group(folder / TEST_IMAGES, folder / TEST_LABELS)
        found.warnings += test_warnings
        found.take(test_files, test_labels, is_test=True)
        cases = sorted(found.cases.values(), key=lambda case: natural(case.name))
        name = dataset_json.name(content, folder)
        regions = dataset_json.regions(content)
        return Cohort(name, cases, classes, channels, found.sentences(), ignore, regions)


@dataclass
class _Found:
    channels: tuple[str, ...]
    warnings: list[str]
    cases: dict[str, Case] = field(default_factory=dict)
    incomplete: list[str] = field(default_factory=list)

    def take(self, files: Files, labels: Mapping[str, Path], *, is_test: bool) -> None:
        wanted = set(range(len(self.channels)))
        for name, by_number in files.items():
            if set(by_number) != wanted:
                self.incomplete.append(name)
            elif name in self.cases:
                self.warnings.append(
                    f"{name} is in {IMAGES} and in {TEST_IMAGES}; the one to learn from is taken."
                )
            else:
                images = {channel: by_number[n] for n, channel in enumerate(self.channels)}
                self.cases[name] = Case(name, images, labels.get(name), is_test=is_test)

    def sentences(self) -> tuple[str, ...]:
        if not self.incomplete:
            return tuple(self.warnings)
        few = len(self.incomplete) == 1
        return (
            *self.warnings,
            f"{'1 case lacks' if few else f'{len(self.incomplete)} cases lack'} one of the images "
            f"{', '.join(self.channels)} and {'is' if few else 'are'} left out: "
            f"{listed(self.incomplete)}.",
        )


def _training(
    folder: Path, content: Mapping[str, Any]
) -> tuple[Files, dict[str, Path], tuple[str, ...]]:
    table = content.get("dataset")
    if not isinstance(table, Mapping):
        return _group(folder / IMAGES, folder / LABELS, is_labelled=True)
    files: Files = {}
    labels: dict[str, Path] = {}
    missing = []
    for name, row in table.items():
        images = [folder / one for one in row.get("images", ())]
        if not images or not all(one.is_file() for one in images):
            missing.append(name)
            continue
        files[name] = dict(enumerate(images))
        if row.get("label") and (folder / row["label"]).is_file():
            labels[name] = folder / row["label"]
    warnings = list(pair(files, labels).sentences())
    if missing:
        warnings.append(f"Images that {FILE} lists are not there for: {listed(missing)}.")
    return files, labels, tuple(warnings)


def _group(
    images: Path, labels: Path, *, is_labelled: bool = False
) -> tuple[Files, dict[str, Path], tuple[str, ...]]:
    image_files, twice = by_name(volumes_in(images))
    label_files, labels_twice = by_name(volumes_in(labels))
    files = channel_files(image_files)
    pairs = pair(files, label_files)
    warnings = [*twice, *labels_twice]
    if is_labelled or label_files:
        warnings += pairs.sentences()
    odd = [path.name for path in image_files.values() if not _belongs(path, files)]
    if odd:
        warnings.append(f"Not named by channel (_0000) and left out: {listed(odd)}.")
    return files, dict(pairs.labels), tuple(warnings)


def _belongs(path: Path, files: Files) -> bool:
    return any(path in by_number.values() for by_number in files.values())
