"""Cases made by code: bodies of `anatomy` as a scanner would show them, and data sets of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_attnseg.axes import Size
from napari_attnseg.cohort.anatomy import CHANNELS, CLASSES, VALUE, Body, Waves, rotation
from napari_attnseg.cohort.case import Cohort
from napari_attnseg.cohort.dataset_json import FILE
from napari_attnseg.volume import Volume

SIZE: Size = (32, 40, 56)
"""Voxels along S, A and R."""

FIELD_MM = (180.0, 220.0, 280.0)
"""Field of view along S, A and R."""

FINER = 2
"""Points a voxel and axis, whose mean is the voxel's intensity (partial volume)."""


@dataclass(frozen=True)
class Scan:
    """How a body is scanned and stored.

    Args:
        size: Voxels along S, A and R; the field of view stays, so they decide the voxel size.
        orientation: Storage order of the file.
        oblique_degrees: By how much the scanner's axes are turned, about x, y and z.
    """

    size: Size = SIZE
    orientation: str = "RAS"
    oblique_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)


_SCANS = (
    Scan(),
    Scan(orientation="LPS"),
    Scan(size=(20, 46, 64)),
    Scan(oblique_degrees=(9.0, 0.0, -6.0)),
    Scan(orientation="PIR"),
    Scan(size=(22, 44, 60), orientation="LAS", oblique_degrees=(-7.0, 4.0, 0.0)),
)
"""Turns that a data set takes; most have one voxel size, to which a network is then fitted."""


def phantom(
    seed: int,
    *,
    size: Size = SIZE,
    channels: int = 1,
    anisotropic: bool = False,
    oblique: bool = False,
    orientation: str = "RAS",
    lesion: bool | None = None,
) -> tuple[Volume, Volume]:
    """Return an image and its label map, the same for the same arguments.

    Args:
        seed: Of the body and of its scan.
        size: Voxels along S, A and R of a field of view of 180 x 220 x 280 mm.
        channels: 1 gives T1, 2 gives T1 and T2.
        anisotropic: Whether there are fewer slices along S, of finer voxels.
        oblique: Whether the grid is turned against the patient's axes.
        orientation: Storage order, three letters.
        lesion: Whether there is one; None leaves it to the seed.

    Raises:
        ValueError: If the number of channels is not 1 or 2.
    """
    if anisotropic:
        d, h, w = size
        size = (max(1, round(0.62 * d)), round(1.14 * h), round(1.14 * w))
    tilt, _, turn = np.random.default_rng([seed, 2]).uniform(6, 12, size=3)
    degrees = (float(tilt), 0.0, float(-turn)) if oblique else (0.0, 0.0, 0.0)
    return _phantom(seed, Scan(size, orientation, degrees), channels, lesion)


def write_phantoms(
    folder: str | Path, cases: int = 12, seed: int = 0, channels: int = 1, *, unlabelled: int = 0
) -> Cohort:
    """Write a data set of phantoms in the Decathlon's layout, and return its cohort.

    Its cases differ in voxel size, obliqueness and storage order.

    Args:
        folder: Made if it is missing.
        cases: Labelled cases.
        seed: Of the first case.
        channels: 1 or 2 a case.
        unlabelled: Further cases without a label.

    Raises:
        OSError: If the folder cannot be written.
    """
    from napari_attnseg.cohort.layout import recognise
    from napari_attnseg.io import atomic_write, write_volume

    folder = Path(folder)
    rows: dict[str, list[dict[str, str] | str]] = {"training": [], "test": []}
    for index in range(cases + unlabelled):
        name = f"phantom_{index + 1:03d}.nii.gz"
        scan = _SCANS[index % len(_SCANS)]
        lesion = _LESIONS[index % len(_LESIONS)]
        image, label = _phantom(1000 * seed + index, scan, channels, lesion)
        is_labelled = index < cases
        part = "Tr" if is_labelled else "Ts"
        write_volume(folder / f"images{part}" / name, image)
        if is_labelled:
            write_volume(folder / "labelsTr" / name, label)
            row = {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"}
            rows["training"].append(row)
        else:
            rows["test"].append(f"./imagesTs/{name}")
    content = {
        "name": "Phantoms",
        "description": "Upper abdomens made by code",
        "modality": {str(n): name for n, name in enumerate(CHANNELS[:channels])},
        "labels": {"0": "background"} | {str(value): name for value, name in CLASSES.items()},
        "numTraining": cases,
        "numTest": unlabelled,
        **rows,
    }
    with atomic_write(folder / FILE) as file:
        file.write(json.dumps(content, indent=1).encode())
    return recognise(folder)


_LESIONS = (True, True, False)


def _phantom(seed: int, scan: Scan, channels: int, lesion: bool | None) -> tuple[Volume, Volume]:
    if not 1 <= channels <= len(CHANNELS):
        raise ValueError(f"A phantom has 1 or {len(CHANNELS)} channels, not {channels}.")
    body = Body(seed, lesion)
    rng = np.random.default_rng([seed, 1])
    affine = _affine(scan.size, scan.oblique_degrees)
    image, label = _sample(body, scan.size, affine, channels, rng)
    bright = Volume(_noisy(image, rng), affine, channels=CHANNELS[:channels])
    values = Volume(label[None], affine, classes=dict(CLASSES))
    return bright.reoriented(scan.orientation), values.reoriented(scan.orientation)


def _affine(size: Size, oblique_degrees: tuple[float, float, float]) -> np.ndarray:
    """Return the affine of a RAS grid around the middle of the body."""
    spacing_ijk = (np.array(FIELD_MM) / np.array(size))[::-1]
    affine = np.eye(4)
    affine[:3, :3] = rotation(oblique_degrees) @ np.diag(spacing_ijk)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(size)[::-1] - 1) / 2)
    return affine


def _sample(
    body: Body, size: Size, affine: np.ndarray, channels: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return brightness ``(C, D, H, W)`` and label values ``(D, H, W)``."""
    image = np.zeros((channels, *size), dtype=np.float32)
    label = np.zeros(size, dtype=np.uint8)
    bias = [Waves.draw(rng, 280, 500, 3) for _ in range(channels)]
    strength = rng.uniform(0.05, 0.12)
    inner = (np.arange(FINER) + 0.5) / FINER - 0.5
    k_in, j, i = np.meshgrid(
        inner,
        (np.arange(size[1])[:, None] + inner).ravel(),
        (np.arange(size[2])[:, None] + inner).ravel(),
        indexing="ij",
    )
    for k in range(size[0]):
        ijk = np.stack([i.ravel(), j.ravel(), (k + k_in).ravel()], axis=1)
        points = (ijk @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
        bent = body.bent(points)
        tissue = body.tissue(bent)
        # Half of all points lie in air, where there is nothing to see.
        seen = np.flatnonzero(tissue)
        texture = body.texture(bent[seen])
        label[k] = _most(VALUE[tissue].reshape(_finer(size)))
        for channel in range(channels):
            level = np.zeros(len(points), dtype=np.float32)
            level[seen] = body.brightness(tissue[seen], texture, channel)
            level[seen] *= np.exp(strength * bias[channel](points[seen]))
            image[channel, k] = level.reshape(_finer(size)).mean(axis=(0, 2, 4))
    return image, label


def _finer(size: Size) -> tuple[int, int, int, int, int]:
    return FINER, size[1], FINER, size[2], FINER


def _most(values: np.ndarray) -> np.ndarray:
    """Return the value that most of each voxel's points have, ``(H, W)``."""
    counts = [(values == value).sum(axis=(0, 2, 4)) for value in range(len(CLASSES) + 1)]
    return np.argmax(counts, axis=0).astype(np.uint8)


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what a scanner stores: the magnitude of a noisy signal, in arbitrary units."""
    sigma = rng.uniform(0.025, 0.045)
    real = image + rng.normal(0, sigma, size=image.shape)
    other = rng.normal(0, sigma, size=image.shape)
    gain = np.exp(rng.uniform(np.log(250), np.log(1500), size=(len(image), 1, 1, 1)))
    return np.clip(np.hypot(real, other) * gain, 0, 32767).astype(np.int16)
