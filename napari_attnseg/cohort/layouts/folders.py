"""A folder of images with a folder of labels, or one folder with both or with images alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_attnseg.cohort import dataset_json
from napari_attnseg.cohort.case import Case, Cohort, anonymous_channels, listed, natural
from napari_attnseg.cohort.dataset_json import FILE, DatasetJsonError
from napari_attnseg.cohort.layout import LAYOUTS, Fit
from napari_attnseg.cohort.pairing import (
    Pairs,
    by_name,
    channel_files,
    image_of,
    is_named_as_label,
    pair,
    volumes_in,
)

_IMAGE_FOLDERS = (
    "images", "image", "imagestr", "img", "imgs", "scans", "scan", "volumes", "volume", "raw",
    "data", "ct", "mr", "mri", "x",
)  # fmt: skip
_LABEL_FOLDERS = (
    "labels", "label", "labelstr", "masks", "mask", "segmentations", "segmentation", "segs",
    "seg", "annotations", "annotation", "groundtruth", "ground_truth", "gt", "manual", "y",
)  # fmt: skip


@LAYOUTS.register("folders")
class Folders:
    """Folders of images and labels."""

    looks_for = "images and labels, or volumes"
    rank = 30

    def fit(self, folder: Path) -> Fit:
        """Return whether there is a folder of images, or volumes."""
        images, labels = _subfolder(folder, _IMAGE_FOLDERS), _subfolder(folder, _LABEL_FOLDERS)
        if images is not None and volumes_in(images):
            return Fit()
        if any(not is_named_as_label(name) for name in by_name(volumes_in(folder))[0]):
            return Fit()
        if images is not None:
            return Fit(f"the folder {images.name} holds no volume", 0.65)
        if labels is not None:
            return Fit(f"there is a folder {labels.name} but none of images beside it", 0.65)
        return Fit("neither a folder named images nor a volume is there", 0.1)

    def load(self, folder: Path) -> Cohort:
        """Return the cases, paired by name."""
        images, labels = _subfolder(folder, _IMAGE_FOLDERS), _subfolder(folder, _LABEL_FOLDERS)
        facts, warnings = _facts(folder)
        if images is not None and volumes_in(images):
            image_files, twice = by_name(volumes_in(images))
            label_files, labels_twice = by_name(volumes_in(labels) if labels else [])
            grouped = _by_case(image_files, label_files)
            pairs = pair(grouped, label_files)
            twice += labels_twice
        else:
            files, twice = by_name(volumes_in(folder))
            image_files, pairs = _side_by_side(files)
            grouped = {name: [path] for name, path in image_files.items()}
        # Images alone are the normal start of a project, and no reason to warn.
        is_labelled = labels is not None or bool(pairs.labels)
        pairs = pairs if is_labelled else replace(pairs, without_label=())
        warnings += [*twice, *pairs.sentences()]
        count = len(next(iter(grouped.values()), [folder]))
        channels = facts.channels if len(facts.channels) == count else anonymous_channels(count)
        cases = [
            Case(name, dict(zip(channels, paths, strict=True)), pairs.labels.get(name))
            for name, paths in grouped.items()
        ]
        cases.sort(key=lambda case: natural(case.name))
        name = folder.resolve().name
        return Cohort(name, cases, facts.classes, channels, tuple(warnings), facts.ignore)


@dataclass(frozen=True)
class _Facts:
    """What a ``dataset.json`` says that lists no files."""

    classes: Mapping[int, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    ignore: int | None = None


def _facts(folder: Path) -> tuple[_Facts, list[str]]:
    try:
        content = dataset_json.read(folder) or {}
        named, ignore = dataset_json.classes(content)
        return _Facts(named, dataset_json.channels(content), ignore), []
    except DatasetJsonError as error:
        return _Facts(), [f"{FILE} is not used: {error}."]


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    there = {one.name.casefold(): one for one in sorted(folder.iterdir()) if one.is_dir()}
    exact = next((there[name] for name in names if name in there), None)
    # "images_nii" and "labels-final" are as good, where only one begins so.
    begun = [one for name, one in there.items() if name.startswith(tuple(names[:2]))]
    return exact or (begun[0] if len(begun) == 1 else None)


def _by_case(images: Mapping[str, Path], labels: Mapping[str, Path]) -> dict[str, list[Path]]:
    """Return the files of each case, those of ``case_0000``, ``case_0001``, ... together.

    Numbered names are channels only where all are complete from 0 on, and the labels bear the
    names without numbers or, without labels, several cases are numbered alike: a series
    ``scan_0000``, ``scan_0001``, ... is one case a file.
    """
    grouped = channel_files(images)
    counts = {len(one) for one in grouped.values()}
    is_complete = len(counts) == 1 and all(
        set(one) == set(range(*counts)) for one in grouped.values()
    )
    is_told_by_labels = bool(set(grouped) & set(labels))
    is_repeated = not labels and len(grouped) > 1
    covers_all = sum(map(len, grouped.values())) == len(images)
    if is_complete and covers_all and (is_told_by_labels or is_repeated):
        return {name: [one[n] for n in sorted(one)] for name, one in grouped.items()}
    return {name: [path] for name, path in images.items()}


def _side_by_side(files: Mapping[str, Path]) -> tuple[dict[str, Path], Pairs]:
    """Tell images from labels in one folder, such as ``t2`` and ``t2_seg``."""
    images = {name: path for name, path in files.items() if not is_named_as_label(name)}
    candidates: dict[str, list[str]] = defaultdict(list)
    without_image = []
    for name in files:
        if name in images:
            continue
        image = image_of(name, images)
        if image is None:
            without_image.append(files[name])
        else:
            candidates[image].append(name)
    found = {image: files[names[0]] for image, names in candidates.items() if len(names) == 1}
    warnings = [
        f"Several labels fit the image {image} ({listed(names)}); none was taken. Put the labels "
        "of one kind into a folder of their own."
        for image, names in candidates.items()
        if len(names) > 1
    ]
    without_label = tuple(name for name in images if name not in candidates)
    return images, Pairs(found, without_label, tuple(without_image), tuple(warnings))
