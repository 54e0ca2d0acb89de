"""Which image and which label belong together: told by their names, never by their order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_attnseg.cohort.case import listed
from napari_attnseg.io import known_suffix

_CHANNEL = re.compile(r"^(.+)_(\d{4})$")
_WORDS = re.compile(r"[-_. ]+")
_LABEL_WORDS = frozenset(
    (
        "label", "labels", "lbl", "mask", "masks", "seg", "segs", "segmentation", "segmentations",
        "dseg", "gt", "groundtruth", "truth", "manual", "annotation", "annotations", "roi",
    )
)  # fmt: skip
_IMAGE_WORDS = frozenset(
    ("image", "images", "img", "imgs", "volume", "vol", "scan", "data", "orig", "raw")
)
_LABEL_ENDING = re.compile(
    r"^(.+?)[-_. ]+(?:[a-z0-9]*seg|seg[a-z]*|labels?|lbl|masks?|gt|groundtruth|ground[-_]truth|"
    r"annotations?|roi)(?:[-_. ].*)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Pairs:
    """Images with their labels.

    Args:
        labels: Label by image name; images without one are not in it.
        without_label: Names of images that have none.
        without_image: Labels that no image claims.
        warnings: What could not be decided, in sentences.
    """

    labels: Mapping[str, Path]
    without_label: tuple[str, ...] = ()
    without_image: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = field(default_factory=tuple)

    def sentences(self) -> tuple[str, ...]:
        """Return the warnings that the pairing gives rise to."""
        return (*unlabelled(self.without_label), *orphans(self.without_image), *self.warnings)


def unlabelled(names: Iterable[str]) -> list[str]:
    """Return the warning about images without a label; nothing if there are none."""
    names = list(names)
    if not names:
        return []
    if len(names) == 1:
        return [f"The image {names[0]} has no label; it is kept as unlabelled."]
    return [f"{len(names)} images have no label and are kept as unlabelled: {listed(names)}."]


def orphans(labels: Iterable[Path]) -> list[str]:
    """Return the warning about labels without an image; nothing if there are none."""
    names = [one.name for one in labels]
    if not names:
        return []
    if len(names) == 1:
        return [f"The label {names[0]} has no image; it is left out."]
    return [f"{len(names)} labels have no image and are left out: {listed(names)}."]


def volumes_in(folder: Path) -> list[Path]:
    """Return the volumes that lie in a folder itself, sorted; hidden ones are left out."""
    if not folder.is_dir():
        return []
    found = (one for one in folder.iterdir() if not one.name.startswith("."))
    return sorted(one for one in found if known_suffix(one) and one.is_file())


def bare_name(path: Path) -> str:
    """Return a file's name without its suffix, a channel number included."""
    suffix = known_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.name


def by_name(files: Iterable[Path]) -> tuple[dict[str, Path], list[str]]:
    """Return files by bare name; where two share one, neither, and a warning."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        groups[bare_name(file)].append(file)
    unique = {name: group[0] for name, group in groups.items() if len(group) == 1}
    warnings = [
        f"{listed(one.name for one in group)} would be the same case {name}; it is left out. "
        "Remove or rename all but one."
        for name, group in groups.items()
        if len(group) > 1
    ]
    return unique, warnings


def channel_files(files: Mapping[str, Path]) -> dict[str, dict[int, Path]]:
    """Return, by case, the file of each channel of names that end in ``_0000``, ``_0001``, ..."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for name, path in files.items():
        match = _CHANNEL.match(name)
        if match:
            found[match.group(1)][int(match.group(2))] = path
    return dict(found)


def pair(images: Iterable[str], labels: Mapping[str, Path]) -> Pairs:
    """Pair images and labels by name.

    Equal names come first; then names that are equal without words such as ``image`` and
    ``seg`` and regardless of capitals, where exactly one label and one image are so.

    Args:
        images: Names of the images.
        labels: Label by name.
    """
    images = list(images)
    found = {name: labels[name] for name in images if name in labels}
    taken = set(found)
    loose_images = _groups((name for name in images if name not in found), _IMAGE_WORDS)
    loose_labels = _groups((name for name in labels if name not in taken), _LABEL_WORDS)
    warnings = []
    for key, names in loose_images.items():
        candidates = loose_labels.get(key, [])
        if len(names) == len(candidates) == 1:
            found[names[0]] = labels[candidates[0]]
            taken.add(candidates[0])
        elif candidates:
            warnings.append(_undecided(names, candidates))
            taken.update(candidates)
    without_label = tuple(name for name in images if name not in found)
    left = tuple(path for name, path in labels.items() if name not in taken)
    return Pairs(found, without_label, left, tuple(warnings))


def image_of(label: str, names: Iterable[str]) -> str | None:
    """Return the image beside which a label lies, such as ``t2`` for ``t2_seg-manual``.

    Returns:
        The longest fitting name among ``names``, or None if ``label`` is not named as a label.
    """
    match = _LABEL_ENDING.match(label)
    if match is None:
        return None
    fitting = [
        name
        for name in names
        if len(label) > len(name) and label.startswith(name) and not label[len(name)].isalnum()
    ]
    return max(fitting, key=len, default=None)


def is_named_as_label(name: str) -> bool:
    """Return whether a bare name ends as labels do, such as ``_seg`` or ``-mask``."""
    return _LABEL_ENDING.match(name) is not None


def _groups(names: Iterable[str], words: frozenset[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_essence(name, words)].append(name)
    groups.pop("", None)
    return groups


def _essence(name: str, words: frozenset[str]) -> str:
    parts = [part.casefold() for part in _WORDS.split(name) if part]
    return "_".join(part for part in parts if part not in words)


def _undecided(images: list[str], labels: list[str]) -> str:
    return (
        f"Which of the labels {listed(labels)} belongs to {listed(images)} cannot be told from "
        "the names; none was taken. Give an image and its label the same name."
    )
