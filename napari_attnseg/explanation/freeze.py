"""From what is asked to a region that stays as it is while the network is looked into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_attnseg.explanation.error import ExplainError
from napari_attnseg.explanation.spec import TargetSpec
from napari_attnseg.explanation.target import Target
from napari_attnseg.inference import Run
from napari_attnseg.inference.sliding import strongest_class
from napari_attnseg.io import read_volume
from napari_attnseg.preprocessing.pipeline import network_grid
from napari_attnseg.preprocessing.resample import resample_labels
from napari_attnseg.volume import Grid, Volume, require_same_grid

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels that share a face, an edge or a corner belong to one part."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """What regions are made of.

    Args:
        run: The trained run.
        spec: What is asked.
        found: Where the network found the class, ``(D, H, W)`` on its own grid.
        grid: The network's.
        image: That of the image as stored.
    """

    run: Run
    spec: TargetSpec
    found: np.ndarray
    grid: Grid
    image: Grid

    @property
    def name(self) -> str:
        return name_of(self.run, self.spec.value)


Region = tuple[np.ndarray, str, str]
"""The region, what it is in words, and, where it is empty, why."""


def freeze(run: Run, spec: TargetSpec, logits: Tensor, image: Grid) -> Target:
    """Return the region of a target, and which logits are looked at.

    Args:
        run: The trained run.
        spec: What is asked.
        logits: ``(K, D, H, W)`` of the whole volume, on the network's grid.
        image: Grid of the image as stored.

    Raises:
        ExplainError: If a place lies outside of the image.
        GridMismatchError: If a region or reference is not on the image's grid.
        RunError: If the run has no such class.
    """
    coefficients = {run.class_index(spec.value): 1.0}
    if spec.versus is not None:
        coefficients[run.class_index(spec.versus)] = -1.0
    found = (strongest_class(logits) == run.class_index(spec.value)).cpu().numpy()
    grid = network_grid(image, run.plan)
    asked = _Asked(run, spec, found, grid, image)
    region, words, reason = _REGIONS[spec.kind](asked)
    size = int(region.sum())
    share = float((region & found).sum()) / size if size else 0.0
    facts: dict[str, Any] = {
        "volume_ml": size * grid.voxel_volume_ml,
        "text": _with_other(asked, words),
        "coefficients": {str(run.values[index]): c for index, c in coefficients.items()},
        "predicted_share": share,
        "versus": spec.versus,
        "at": _place(asked),
        "component": spec.component,
        "spec": spec.to_dict(),
    }
    return Target(torch.from_numpy(region), coefficients, spec.kind, facts, reason)


def name_of(run: Run, value: int) -> str:
    """Return the name of a class value."""
    return run.classes.get(value, "background")


def not_found(run: Run, value: int) -> str:
    """Return the sentence for a class that a network did not find."""
    return (
        f"The network found no {name_of(run, value)} (class {value}) in this volume, so there is "
        "no map of it."
    )


def _whole(asked: _Asked) -> Region:
    reason = "" if asked.found.any() else not_found(asked.run, asked.spec.value)
    return asked.found, f"all {asked.name} that was found", reason


def _component(asked: _Asked) -> Region:
    if not asked.found.any():
        return _whole(asked)
    parts, count = ndimage.label(asked.found, structure=TOUCHING)
    number = asked.spec.component
    if number is None:
        return _part_at(asked, parts)
    if number > count:
        reason = (
            f"The network found {count} part{'s' * (count > 1)} of {asked.name}, so there is no "
            f"part {number}."
        )
        return np.zeros_like(asked.found), f"part {number} of {asked.name}", reason
    sizes = np.bincount(parts.ravel())[1:]
    label = int(np.argsort(-sizes, kind="stable")[number - 1]) + 1
    return parts == label, f"part {number} of {count} of {asked.name}", ""


def _part_at(asked: _Asked, parts: np.ndarray) -> Region:
    """Return the part at a place, or beside it, as the image's voxels end between the grid's."""
    place = _network_voxel(asked)
    near = tuple(slice(max(0, at - 1), at + 2) for at in place)
    label = int(parts[place])
    if not label:
        beside = parts[near][parts[near] > 0]
        label = int(np.bincount(beside).argmax()) if len(beside) else 0
    words = f"the part of {asked.name} at {_words(_place(asked))}"
    if label:
        return parts == label, words, ""
    nearest = np.argwhere(asked.found)
    distance = np.linalg.norm((nearest - place) * asked.grid.spacing_dhw, axis=1).min()
    reason = (
        f"There is no {asked.name} at {_words(_place(asked))}: the nearest that the network found "
        f"is {distance:.1f} mm away."
    )
    return np.zeros_like(asked.found), words, reason


def _voxel(asked: _Asked) -> Region:
    region = np.zeros_like(asked.found)
    region[_network_voxel(asked)] = True
    return region, f"{asked.name} at the voxel {_words(_place(asked))}", ""


def _drawn(asked: _Asked) -> Region:
    mask = _on_grid(asked.spec.region, asked.image, "region") != 0
    region = _resampled(mask.astype(np.uint8), asked) > 0
    if mask.any():
        # A region thinner than a voxel of the network's is where its voxels lie.
        if not region.any():
            voxels = asked.grid.voxel(asked.image.world(np.argwhere(mask)))
            region[tuple(_inside(voxels, region.shape).T)] = True
        return region, f"{asked.name} in the drawn region", ""
    return region, f"{asked.name} in the drawn region", "The drawn region is empty."


def _invented(asked: _Asked) -> Region:
    region = asked.found & ~_labelled(asked)
    reason = f"All that the network called {asked.name} is labelled so: nothing was invented."
    return region, f"{asked.name} that is not labelled so", "" if region.any() else reason


def _missed(asked: _Asked) -> Region:
    region = _labelled(asked) & ~asked.found
    reason = f"All that is labelled {asked.name} was found: nothing was missed."
    return region, f"{asked.name} that was missed", "" if region.any() else reason


_REGIONS: dict[str, Callable[[_Asked], Region]] = {
    "class": _whole,
    "contrast": _whole,
    "component": _component,
    "voxel": _voxel,
    "region": _drawn,
    "false-positive": _invented,
    "false-negative": _missed,
}


def _with_other(asked: _Asked, words: str) -> str:
    if asked.spec.versus is None:
        return words
    return f"{words}, rather than {name_of(asked.run, asked.spec.versus)}"


def _place(asked: _Asked) -> list[float] | None:
    """Return world RAS mm of the place that is asked about."""
    spec = asked.spec
    if spec.at is not None:
        return [float(mm) for mm in spec.at]
    if spec.voxel is None:
        return None
    return [float(mm) for mm in asked.image.world(np.array(spec.voxel))]


def _network_voxel(asked: _Asked) -> tuple[int, int, int]:
    place = _place(asked)
    inside = asked.image.voxel(np.array(place))
    sizes = np.array(asked.image.shape_dhw)
    if ((inside < -0.5) | (inside > sizes - 0.5)).any():
        raise ExplainError(
            f"The place {_words(place)} lies outside of the image; choose one inside it."
        )
    voxel = _inside(asked.grid.voxel(np.array(place))[None], asked.grid.shape_dhw)[0]
    return int(voxel[0]), int(voxel[1]), int(voxel[2])


def _inside(voxels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the whole voxels that positions lie in."""
    return np.clip(np.rint(voxels), 0, np.array(shape) - 1).astype(np.int64)


def _labelled(asked: _Asked) -> np.ndarray:
    labels = _on_grid(asked.spec.reference, asked.image, "reference")
    mask = labels == asked.spec.value
    return _resampled(mask.astype(np.uint8), asked) > 0


def _on_grid(source: Volume | str | Path | None, image: Grid, name: str) -> np.ndarray:
    """Return the values, ``(D, H, W)``, of a volume on the image's grid."""
    assert source is not None
    volume = source if isinstance(source, Volume) else read_volume(source, labels=True)
    require_same_grid(image, volume.grid, names=("image", name))
    return volume.data[0]


def _resampled(mask: np.ndarray, asked: _Asked) -> np.ndarray:
    stored = Volume(mask[None], asked.image.affine).reoriented(asked.run.plan.orientation)
    return resample_labels(np.ascontiguousarray(stored.data[0]), asked.grid.shape_dhw)


def _words(place: list[float] | None) -> str:
    return f"({', '.join(f'{mm:.1f}' for mm in place or ())}) mm"
