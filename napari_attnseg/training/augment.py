"""Random changes of training patches: one resampling for all that moves voxels.

Cropping, turning, scaling and mirroring are one affine map, so a patch is interpolated once and
only where it is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.config import ConfigError
from napari_attnseg.losses import IGNORE_INDEX
from napari_attnseg.training.sides import Mirroring

AUGMENTATIONS = ("affine", "flip", "intensity", "noise")
ANISOTROPIC = 2.5
"""Beyond this ratio of spacings patches are turned in the plane only."""


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a patch.

    Args:
        names: Any of `AUGMENTATIONS`.
        spacing_dhw: Voxel size of the network's grid in mm.
        mirroring: Whether and how patches are mirrored.
        turn_degrees: Largest turn about an axis.
        scales: Smallest and largest magnification.

    Raises:
        ConfigError: If a name is unknown.
    """

    names: tuple[str, ...]
    spacing_dhw: Spacing
    mirroring: Mirroring
    turn_degrees: float = 15.0
    scales: tuple[float, float] = (0.85, 1.18)

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in AUGMENTATIONS:
                raise ConfigError(
                    f"There is no augmentation {name!r}; choose from {', '.join(AUGMENTATIONS)}."
                )

    def cut(
        self,
        image: Tensor,
        label: Tensor,
        centre_dhw: np.ndarray,
        patch_size: Size,
        rng: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return a randomly changed patch.

        Beyond the volume the image continues with its border and the label is `IGNORE_INDEX`.

        Args:
            image: ``(C, D, H, W)``, float32.
            label: ``(D, H, W)``, uint8 channel indices.
            centre_dhw: Centre of the patch in voxels.
            patch_size: Voxels along D, H, W.
            rng: Where all chance comes from.

        Returns:
            Image ``(C, d, h, w)`` and label ``(d, h, w)``, int64.
        """
        mirrored = self._is_mirrored(rng)
        linear = self._linear(mirrored, rng)
        patch, target = resample(image, label, centre_dhw, linear, patch_size)
        if mirrored:
            target = _swap(target, self.mirroring.swaps)
        if "intensity" in self.names:
            change_intensity(patch, rng)
        if "noise" in self.names:
            add_noise(patch, rng)
        return patch, target

    def _is_mirrored(self, rng: np.random.Generator) -> bool:
        chance = bool(rng.random() < 0.5)
        return "flip" in self.names and self.mirroring.axis is not None and chance

    def _linear(self, mirrored: bool, rng: np.random.Generator) -> np.ndarray:
        """Return the 3x3 map from voxel offsets in the patch to those in the case, in D, H, W."""
        linear = np.eye(3)
        if "affine" in self.names:
            linear = self._turned_and_scaled(rng)
        if mirrored:
            linear[:, self.mirroring.axis] *= -1
        return linear

    def _turned_and_scaled(self, rng: np.random.Generator) -> np.ndarray:
        spacing = np.array(self.spacing_dhw)
        degrees = rng.uniform(-self.turn_degrees, self.turn_degrees, size=3)
        degrees *= rng.random(3) < 0.5
        if spacing.max() / spacing.min() > ANISOTROPIC:
            degrees[np.arange(3) != spacing.argmax()] = 0
        low, high = np.log(self.scales)
        together, apart = rng.uniform(low, high), rng.uniform(low, high, size=3) / 3
        scale = np.exp((together + apart) * (rng.random() < 0.5))
        mm = _rotation(np.radians(degrees)) @ np.diag(scale)
        return np.diag(1 / spacing) @ mm @ np.diag(spacing)


def resample(
    image: Tensor, label: Tensor, centre_dhw: np.ndarray, linear: np.ndarray, patch_size: Size
) -> tuple[Tensor, Tensor]:
    """Return the patch whose voxel offset o from its centre lies at ``centre + linear @ o``.

    The image is interpolated linearly and continued with its border; the label takes the nearest
    voxel and is `IGNORE_INDEX` beyond the volume.
    """
    voxels = np.array(image.shape[1:])
    to_unit = 2.0 / np.maximum(voxels - 1, 1)
    theta = np.empty((3, 4))
    theta[:, :3] = to_unit[:, None] * linear * (np.array(patch_size) - 1) / 2
    theta[:, 3] = to_unit * centre_dhw - 1
    # PyTorch counts x, y, z: the last axis first.
    theta[:, :3] = theta[::-1, 2::-1].copy()
    theta[:, 3] = theta[::-1, 3].copy()
    with warnings.catch_warnings():
        # A patch of one slice is turned about that slice, as it should be.
        warnings.filterwarnings("ignore", message="Since version 1.3.0, affine_grid")
        grid = F.affine_grid(
            torch.from_numpy(theta).float()[None], [1, 1, *patch_size], align_corners=True
        )
    patch = F.grid_sample(image[None], grid, padding_mode="border", align_corners=True)[0]
    # 0 is what lies beyond the volume, so labels are counted from 1 here.
    counted = label[None, None].float() + 1
    nearest = F.grid_sample(counted, grid, mode="nearest", align_corners=True)[0, 0].long()
    return patch, torch.where(nearest == 0, IGNORE_INDEX, nearest - 1)


def change_intensity(patch: Tensor, rng: np.random.Generator) -> None:
    """Change brightness, contrast and gamma of each channel in place.

    Args:
        patch: ``(C, d, h, w)``, normalised.
        rng: Where all chance comes from.
    """
    for channel in patch:
        if rng.random() < 0.5:
            channel.mul_(float(rng.uniform(0.8, 1.25))).add_(float(rng.uniform(-0.2, 0.2)))
        if rng.random() < 0.3:
            low, high = channel.aminmax()
            span = (high - low).clamp_min(1e-6)
            power = float(np.exp(rng.uniform(np.log(0.75), np.log(1.33))))
            channel.sub_(low).div_(span).pow_(power).mul_(span).add_(low)


def add_noise(patch: Tensor, rng: np.random.Generator) -> None:
    """Add Gaussian noise to one patch in three, in place."""
    if rng.random() < 0.33:
        sigma = rng.uniform(0, 0.15)
        noise = rng.standard_normal(tuple(patch.shape), dtype=np.float32)
        patch.add_(torch.from_numpy(noise), alpha=float(sigma))


def _rotation(radians: np.ndarray) -> np.ndarray:
    """Return the turn about D, then H, then W, on vectors along D, H, W."""
    turn = np.eye(3)
    for axis, angle in enumerate(radians):
        one, other = (at for at in range(3) if at != axis)
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


def _swap(label: Tensor, swaps: Sequence[tuple[int, int]]) -> Tensor:
    if not swaps:
        return label
    table = torch.arange(256)
    for one, other in swaps:
        table[one], table[other] = other, one
    return table[label]
