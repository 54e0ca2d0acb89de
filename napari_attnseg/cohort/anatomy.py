"""An upper abdomen made by code: which tissue lies at a point, and how bright it is there.

Points are in mm, RAS, from the middle of the body; so the same body can be sampled on any grid.
Every structure is an ellipsoid or a tube whose place, size, tilt and surface differ from body to
body, and the whole is bent by a smooth warp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLASSES = {1: "liver", 2: "kidneys", 3: "spleen", 4: "lesion"}
LIVER = 1
CHANNELS = ("T1", "T2")

# Name, brightness in T1 (fat suppressed, with contrast agent) and in T2, and label value.
_TISSUES = (
    ("air", 0.0, 0.0, 0),
    ("fat", 0.26, 0.72, 0),
    ("muscle", 0.36, 0.20, 0),
    ("visceral fat", 0.20, 0.64, 0),
    ("bowel", 0.30, 0.44, 0),
    ("cortical bone", 0.08, 0.06, 0),
    ("marrow", 0.32, 0.40, 0),
    ("disc", 0.24, 0.66, 0),
    ("spinal canal", 0.14, 0.95, 0),
    ("blood", 0.72, 0.10, 0),
    ("stomach wall", 0.40, 0.30, 0),
    ("stomach", 0.12, 0.90, 0),
    ("liver", 0.60, 0.32, 1),
    ("liver vessel", 0.72, 0.44, 1),
    ("spleen", 0.86, 0.56, 3),
    ("kidney cortex", 1.10, 0.62, 2),
    ("kidney medulla", 0.92, 0.76, 2),
    ("kidney pelvis", 0.45, 0.66, 0),
    ("lesion", 0.26, 0.74, 4),
)
TISSUE = {name: index for index, (name, *_) in enumerate(_TISSUES)}
VALUE = np.array([value for *_, value in _TISSUES], dtype=np.uint8)
"""Label value by tissue."""

_BRIGHTNESS = np.array([row[1:3] for row in _TISSUES], dtype=np.float32)
_TEXTURE = np.array(
    [{"air": 0, "bowel": 0.30, "stomach": 0.12, "lesion": 0.15}.get(row[0], 0.06)
     for row in _TISSUES], dtype=np.float32,
)  # fmt: skip


@dataclass(frozen=True)
class Waves:
    """A smooth random function of place: a sum of cosines, about -1 to 1.

    Args:
        vectors: ``(n, 3)``, radians a mm.
        phases: ``(n,)``.
    """

    vectors: np.ndarray
    phases: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, low_mm: float, high_mm: float, count: int) -> Waves:
        """Return waves of lengths between two limits, in all directions."""
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = rng.uniform(low_mm, high_mm, size=(count, 1))
        phases = rng.uniform(0, 2 * np.pi, size=count)
        return cls((2 * np.pi * directions / lengths).astype(np.float32), phases.astype("f4"))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` values at points ``(n, 3)`` in mm."""
        return np.cos(points @ self.vectors.T + self.phases).sum(axis=1) / len(self.phases) ** 0.5


@dataclass(frozen=True)
class Blob:
    """An ellipsoid with an uneven surface.

    Args:
        centre: In mm.
        semi_axes: In mm.
        turn: 3x3 rotation into its own axes.
        surface: What makes it uneven.
        roughness: Strength of that; 0 is an ellipsoid.
    """

    centre: np.ndarray
    semi_axes: np.ndarray
    turn: np.ndarray
    surface: Waves
    roughness: float

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Return a level that is below 1 inside, 0 in the middle, at points ``(n, 3)``."""
        own = (points - self.centre) @ self.turn.T / self.semi_axes
        level = np.einsum("ij,ij->i", own, own)
        return level * (1 + self.roughness * self.surface(points))


def rotation(degrees: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the 3x3 rotation about x, then y, then z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        one = np.eye(3)
        first, second = [n for n in range(3) if n != axis]
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    return turn


class Body:
    """One random body.

    Args:
        seed: Of everything about it.
        has_lesion: Whether there is a lesion in the liver; None leaves it to the seed.
    """

    def __init__(self, seed: int, has_lesion: bool | None = None) -> None:
        rng = np.random.default_rng(seed)
        self._rng = rng
        self._pose = rotation(rng.normal(0, 3, size=3)) / rng.normal(1, 0.04)
        self._shift = rng.normal(0, 4, size=3)
        self._warp = [Waves.draw(rng, 110, 220, 4) for _ in range(3)]
        self._warp_mm = rng.uniform(3, 6)
        self._half_width = rng.normal(122, 4)
        self._half_depth = rng.normal(82, 4)
        self._fat_mm = rng.uniform(9, 18)
        self._rib_phase = rng.uniform(0, 28)
        self._texture = Waves.draw(rng, 11, 26, 12)
        self._coarse = Waves.draw(rng, 30, 55, 6)
        self._vessels = Waves.draw(rng, 38, 60, 3)
        self._brightness = _BRIGHTNESS * rng.normal(1, 0.05, size=_BRIGHTNESS.shape)
        self._organs = self._draw_organs()
        is_drawn = rng.random() < 0.65
        self.has_lesion = is_drawn if has_lesion is None else has_lesion
        self._lesion = self._draw_lesion()

    def tissue(self, points: np.ndarray) -> np.ndarray:
        """Return the tissue, an index, at points ``(n, 3)`` of `bent`."""
        found = self._wall(points)
        inside = np.flatnonzero(found == TISSUE["visceral fat"])
        is_bowel = (self._coarse(points[inside]) > 0.15) & (points[inside, 1] > -35)
        found[inside[is_bowel]] = TISSUE["bowel"]
        self._paint_spine(points, found)
        for name, blob in self._organs:
            self._paint_organ(points, found, name, blob)
        if self.has_lesion:
            is_liver = np.flatnonzero(VALUE[found] == LIVER)
            is_lesion = self._lesion.depth(points[is_liver]) < 1
            found[is_liver[is_lesion]] = TISSUE["lesion"]
        return found

    def texture(self, points: np.ndarray) -> np.ndarray:
        """Return the grain of the tissues at points ``(n, 3)`` of `bent`."""
        return self._texture(points)

    def brightness(self, tissue: np.ndarray, texture: np.ndarray, channel: int) -> np.ndarray:
        """Return the brightness, about 0 to 1, of tissues with their grain in T1 (0) or T2 (1)."""
        level = self._brightness[:, channel].astype(np.float32)[tissue]
        return level * (1 + _TEXTURE[tissue] * texture)

    def bent(self, points: np.ndarray) -> np.ndarray:
        """Return where points ``(n, 3)``, mm, lie in a body that stands straight."""
        shift = np.stack([wave(points) for wave in self._warp], axis=1) * self._warp_mm
        return ((points + shift - self._shift) @ self._pose.T).astype(np.float32)

    def _draw_organs(self) -> list[tuple[str, Blob]]:
        side = self._rng.normal(0, 4)
        return [
            ("stomach", self._blob((-42, 22, 32), (32, 30, 36), 14, 0.12)),
            ("liver", self._blob((12, 30, 40), (58, 26, 30), 8, 0.10)),
            ("liver", self._blob((58, 2, 24), (46, 56, 62), 8, 0.10)),
            ("spleen", self._blob((-70, -22, 34), (25, 35, 40), 12, 0.12)),
            ("kidney", self._blob((55, -29, -38 + side), (23, 25, 44), 8, 0.05)),
            ("kidney", self._blob((-55, -29, -24 + side), (23, 25, 44), 8, 0.05)),
        ]

    def _blob(
        self,
        centre: tuple[float, float, float],
        semi_axes: tuple[float, float, float],
        tilt_degrees: float,
        roughness: float,
    ) -> Blob:
        rng = self._rng
        return Blob(
            np.array(centre) + rng.normal(0, 3.5, size=3),
            np.array(semi_axes) * rng.normal(1, 0.07, size=3) * rng.normal(1, 0.05),
            rotation(rng.normal(0, tilt_degrees, size=3)),
            Waves.draw(rng, 45, 90, 4),
            roughness,
        )

    def _draw_lesion(self) -> Blob:
        rng = self._rng
        right_lobe = self._organs[2][1]
        direction = rng.normal(size=3)
        direction *= rng.uniform(0.1, 0.55) / np.linalg.norm(direction)
        centre = right_lobe.centre + right_lobe.turn.T @ (direction * right_lobe.semi_axes)
        semi_axes = rng.uniform(13, 21) * rng.uniform(0.85, 1.15, size=3)
        return Blob(centre, semi_axes, np.eye(3), Waves.draw(rng, 20, 40, 4), 0.15)

    def _wall(self, points: np.ndarray) -> np.ndarray:
        """Return skin fat, muscle with ribs, and what is inside them."""
        found = np.zeros(len(points), dtype=np.uint8)
        everywhere = np.arange(len(points))
        at, _ = self._inner(points, everywhere, np.zeros(len(points)), 0.0)
        found[at] = TISSUE["fat"]
        x, y, _ = points[at].T
        fat_mm = self._fat_mm * (1 + 0.25 * np.sin(np.arctan2(y, x) * 2))
        at, fat_mm = self._inner(points, at, fat_mm, 0.0)
        found[at] = TISSUE["muscle"]
        rib, rib_fat_mm = self._inner(points, at, fat_mm, 3.0)
        _, y, z = points[rib].T
        slope = np.abs((z - 0.35 * y + self._rib_phase) % 28 - 14)
        is_rib = (slope < 5.5) & (z > -20) & (np.abs(points[rib, 0]) > 25)
        found[rib[is_rib]] = TISSUE["cortical bone"]
        found[rib[is_rib & (slope < 2.5)]] = TISSUE["marrow"]
        at, fat_mm = self._inner(points, rib, rib_fat_mm, 9.0)
        found[at] = TISSUE["muscle"]
        found[self._inner(points, at, fat_mm, 12.0)[0]] = TISSUE["visceral fat"]
        return found

    def _inner(
        self, points: np.ndarray, at: np.ndarray, fat_mm: np.ndarray, below_mm: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return which of some points lie so deep below the fat, and the fat's thickness there."""
        x, y, z = points[at].T
        wide = self._half_width * (1 + 0.0004 * z) - fat_mm - below_mm
        # The back is flatter than the belly, with a furrow over the spine.
        furrow = 7 * np.exp(-((x / 16) ** 2))
        deep = self._half_depth * np.where(y < 0, 0.93, 1.0) - np.where(y < 0, furrow, 0)
        deep = deep - fat_mm - below_mm
        is_inner = np.abs(x / wide) ** 2.4 + np.abs(y / deep) ** 2.4 < 1
        return at[is_inner], fat_mm[is_inner]

    def _paint_spine(self, points: np.ndarray, found: np.ndarray) -> None:
        x, y, z = points.T
        is_inside = found != TISSUE["air"]
        for side in (-1, 1):
            is_muscle = ((x - side * 27) / 23) ** 2 + ((y + 60) / 13) ** 2 < 1
            found[is_inside & is_muscle & (found != TISSUE["fat"])] = TISSUE["muscle"]
            found[((x - side * 30) / 13) ** 2 + ((y + 38) / 11) ** 2 < 1] = TISSUE["muscle"]
        vertebra = (x / 20) ** 2 + ((y + 38) / 15) ** 2
        height = np.abs((z + self._rib_phase) % 34 - 17)
        found[vertebra < 1] = TISSUE["cortical bone"]
        found[(vertebra < 0.75) & (height < 12)] = TISSUE["marrow"]
        found[(vertebra < 0.9) & (height > 14)] = TISSUE["disc"]
        arch = (x / 15) ** 2 + ((y + 62) / 12) ** 2
        found[is_inside & (arch < 1)] = TISSUE["cortical bone"]
        found[is_inside & ((x / 8) ** 2 + ((y + 59) / 7) ** 2 < 1)] = TISSUE["spinal canal"]
        found[((x + 9) / 10) ** 2 + ((y + 14) / 10) ** 2 < 1] = TISSUE["blood"]
        found[((x - 17) / 12) ** 2 + ((y + 16) / 9) ** 2 < 1] = TISSUE["blood"]

    def _paint_organ(self, points: np.ndarray, found: np.ndarray, name: str, blob: Blob) -> None:
        at = np.flatnonzero(_IS_ROOM[found])
        depth = blob.depth(points[at])
        at, depth = at[depth < 1], depth[depth < 1]
        here = points[at]
        if name == "liver":
            found[at] = TISSUE["liver"]
            is_vessel = (depth < 0.7) & (np.abs(self._vessels(here)) < 0.045)
            found[at[is_vessel]] = TISSUE["liver vessel"]
        elif name == "spleen":
            found[at] = TISSUE["spleen"]
        elif name == "stomach":
            found[at] = TISSUE["stomach wall"]
            found[at[depth < 0.75]] = TISSUE["stomach"]
        else:
            found[at] = TISSUE["kidney cortex"]
            is_medulla = (depth < 0.52) & (self._texture(here) > -0.5)
            found[at[is_medulla]] = TISSUE["kidney medulla"]
            is_inwards = here[:, 0] * np.sign(blob.centre[0]) < abs(blob.centre[0]) - 1
            is_middle = np.abs(here[:, 2] - blob.centre[2]) < 0.35 * blob.semi_axes[2]
            found[at[is_inwards & is_middle & (depth < 0.16)]] = TISSUE["kidney pelvis"]


_IS_ROOM = np.isin(
    np.arange(len(_TISSUES)),
    [
        TISSUE[name]
        for name in ("visceral fat", "bowel", "stomach", "stomach wall", "liver", "liver vessel")
    ],
)
"""By tissue, whether an organ may take its place."""
