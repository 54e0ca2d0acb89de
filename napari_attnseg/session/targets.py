"""What is asked about: a whole structure, a part of it, a voxel, a region, an error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_attnseg.session.cases import OpenCase
from napari_attnseg.volume import Volume

KINDS = {
    "class": "the whole structure",
    "component": "one part: the one I click",
    "voxel": "the voxel I click",
    "region": "the region I draw",
    "contrast": "versus another class",
    "false-positive": "where it was invented",
    "false-negative": "where it was missed",
}
"""Kinds of targets as a person chooses among them."""

CLICKED = ("component", "voxel")
ERRORS = ("false-positive", "false-negative")


@dataclass(frozen=True)
class TargetChoice:
    """What to explain.

    Args:
        value: Class value.
        kind: One of `KINDS`.
        versus: The class it is asked versus, for ``contrast``.
        at_ras: The clicked place in RAS mm, for ``component`` and ``voxel``.
        region: Where it was drawn, boolean ``(D, H, W)`` on the image's grid, for ``region``.
    """

    value: int
    kind: str = "class"
    versus: int | None = None
    at_ras: tuple[float, float, float] | None = None
    region: np.ndarray | None = None

    def why_not(self, case: OpenCase | None, has_label: bool) -> str:
        """Return what is missing before this can be explained, or an empty string."""
        if case is None:
            return "Open a case first."
        if self.kind in CLICKED and self.at_ras is None:
            return "Click in the image first, at the place you ask about."
        if self.kind == "region" and self.region is None:
            return "Draw the region first: press Draw and paint over the image."
        if self.kind == "contrast" and self.versus is None:
            return "Choose the class to compare with."
        if self.kind == "contrast" and self.versus == self.value:
            return "A class cannot be compared with itself; choose another one."
        if self.kind in ERRORS and not has_label:
            return "Errors are known only where the case has a label."
        return ""


def region_volume(case: OpenCase, region: np.ndarray) -> Volume:
    """Return a drawn region as a mask on the grid of the case's image."""
    return case.image.on_grid(region.astype(np.uint8))


def write_region(case: OpenCase, region: np.ndarray, folder: Path) -> Path:
    """Write a drawn region beside the maps and return its file."""
    from napari_attnseg.io import write_volume

    return write_volume(folder / f"{case.name}_region.nii.gz", region_volume(case, region))


def target_settings(
    target: TargetChoice, region: Path | None, reference: str | Path | None
) -> dict[str, Any]:
    """Return a target as the job ``explain`` wants it.

    Args:
        target: What is asked about.
        region: File of the drawn region, if one was drawn.
        reference: File of the case's label, if it has one.
    """
    if target.kind == "class":
        return {"target": target.value}
    found: dict[str, Any] = {"class": target.value, "kind": target.kind}
    if target.at_ras is not None:
        found["at"] = list(target.at_ras)
    if target.versus is not None:
        found["versus"] = target.versus
    if region is not None:
        found["region"] = str(region)
    if target.kind in ERRORS and reference is not None:
        found["reference"] = str(reference)
    return {"target": found}
