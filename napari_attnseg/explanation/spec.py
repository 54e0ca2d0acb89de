"""What is asked about, in words that travel as JSON: a class, a part of it, a voxel, an error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from napari_attnseg.explanation.error import ExplainError
from napari_attnseg.io import stem
from napari_attnseg.volume import Volume

Place = tuple[float, float, float]

NEEDS: dict[str, tuple[str, ...]] = {
    "class": (),
    "component": ("at", "component"),
    "region": ("region",),
    "voxel": ("at", "voxel"),
    "contrast": ("versus",),
    "false-positive": ("reference",),
    "false-negative": ("reference",),
}
"""Kinds of targets, each with the settings of which one must be given."""

_MEANINGS = {
    "at": "a place in RAS mm",
    "voxel": "a voxel along D, H and W",
    "component": "a number, 1 for the largest part",
    "region": "a mask on the image's grid",
    "versus": "the class to compare with",
    "reference": "labels on the image's grid",
}
_PARTS = ("at", "voxel", "component", "region", "reference")


@dataclass(frozen=True, eq=False)
class TargetSpec:
    """What to explain.

    Args:
        value: Class value.
        kind: One of `NEEDS`. ``"contrast"`` asks why a class rather than another; a
            false positive is what the network called this class and the reference does not, a
            false negative what it missed.
        at: World RAS mm of a point, for a voxel or the connected part that it lies in.
        voxel: The same as an index along D, H and W of the image as stored.
        component: 1 for the largest connected part of the class, 2 for the next.
        region: Mask on the image's grid, or its file; what is not 0 belongs to it.
        versus: Another class whose logit is subtracted, in any region; 0 is the background.
        reference: Labels on the image's grid, or their file.

    Raises:
        ExplainError: If there is no such kind, or it lacks what it needs.
    """

    value: int = 1
    kind: str = "class"
    at: Place | None = None
    voxel: tuple[int, int, int] | None = None
    component: int | None = None
    region: Volume | str | Path | None = None
    versus: int | None = None
    reference: Volume | str | Path | None = None

    def __post_init__(self) -> None:
        if self.kind not in NEEDS:
            kinds = ", ".join(NEEDS)
            raise ExplainError(f"There is no target {self.kind!r}; choose one of {kinds}.")
        needs = NEEDS[self.kind]
        if needs and all(getattr(self, name) is None for name in needs):
            asked = " or ".join(f"{_MEANINGS[name]} ({name})" for name in needs)
            raise ExplainError(f"The target {self.kind!r} needs {asked}.")
        idle = [n for n in _PARTS if n not in needs and getattr(self, n) is not None]
        if idle:
            raise ExplainError(
                f"The target {self.kind!r} has no use for {', '.join(idle)}; leave it out, or "
                "choose another kind."
            )
        for name in ("at", "voxel"):
            _check_place(name, getattr(self, name))
        if self.component is not None and self.component < 1:
            raise ExplainError("Parts are counted from 1, the largest one.")
        if self.versus == self.value:
            raise ExplainError("A class cannot be compared with itself; choose another one.")

    @classmethod
    def of(cls, target: int | Mapping[str, Any] | TargetSpec) -> TargetSpec:
        """Return a target from a class value, its JSON form, or itself.

        Raises:
            ExplainError: If the form has an unknown key, or something it needs is missing.
        """
        if isinstance(target, TargetSpec):
            return target
        if not isinstance(target, Mapping):
            return cls(int(target))
        values = {key: value for key, value in target.items() if value is not None}
        known = ["class", "kind", "versus", *_PARTS]
        unknown = [key for key in values if key not in known]
        if unknown:
            raise ExplainError(f"A target has no {unknown[0]!r}; it has {', '.join(known)}.")
        if "class" not in values:
            raise ExplainError("Say which class the target is about.")
        return cls._from_json(values)

    @classmethod
    def _from_json(cls, values: dict[str, Any]) -> TargetSpec:
        at, voxel = values.get("at"), values.get("voxel")
        whole = {
            key: int(values[key]) for key in ("component", "versus") if values.get(key) is not None
        }
        return cls(
            value=int(values["class"]),
            kind=str(values.get("kind", "class")),
            at=None if at is None else cast("Place", tuple(float(mm) for mm in at)),
            voxel=None if voxel is None else cast("Any", tuple(int(n) for n in voxel)),
            region=values.get("region"),
            reference=values.get("reference"),
            **whole,
        )

    def to_dict(self) -> dict[str, Any] | None:
        """Return the JSON form; None where it holds a volume that has no file."""
        if isinstance(self.region, Volume) or isinstance(self.reference, Volume):
            return None
        found: dict[str, Any] = {"class": self.value, "kind": self.kind}
        for name in (*_PARTS, "versus"):
            value = getattr(self, name)
            if value is not None:
                found[name] = list(value) if isinstance(value, tuple) else value
        for name in ("region", "reference"):
            if name in found:
                found[name] = str(found[name])
        return found

    @property
    def tag(self) -> str:
        """What tells this target from the others of its class in a file's name; may be empty."""
        words = [] if self.kind == "class" else [self.kind + self._which()]
        if self.versus is not None:
            words.append(f"versus-{self.versus}")
        return "-".join(words)

    def _which(self) -> str:
        if self.at is not None:
            return "".join(f"{mm:+.1f}" for mm in self.at)
        if self.voxel is not None:
            return "".join(f"-{n}" for n in self.voxel)
        if self.component is not None:
            return f"-{self.component}"
        if isinstance(self.region, (str, Path)):
            return f"-{stem(self.region)}"
        return ""


def _check_place(name: str, place: Sequence[float] | None) -> None:
    if place is None:
        return
    if len(place) != 3:
        raise ExplainError(f"{name} needs three numbers; found {len(place)}.")
    if not all(math.isfinite(one) for one in place):
        raise ExplainError(f"{name} needs three finite numbers; found {list(place)}.")
