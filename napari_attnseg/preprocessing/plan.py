"""The plan: everything about a network's input that follows from the cases and the machine."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.config import Config, ConfigError, setting
from napari_attnseg.preprocessing import topology
from napari_attnseg.preprocessing.budget import Budget, budget_for
from napari_attnseg.preprocessing.fingerprint import ChannelFacts, Fingerprint
from napari_attnseg.preprocessing.intensity import FILL_FRACTION
from napari_attnseg.preprocessing.memory import available_memory, step_memory
from napari_attnseg.preprocessing.spacing import network_shape, orientation_for, spacing_for


@dataclass(frozen=True)
class ChannelPlan(Config):
    """How one channel is normalised, and what the cases that were learned from looked like.

    ``zscore``: each case by its own body, robustly. ``ct``: Hounsfield units mean the same in
    every case, so all are clipped to ``low`` and ``high`` and scaled by one mean and one
    deviation.
    """

    name: str = setting("", help="Modality, such as CT or T1")
    kind: str = setting("zscore", help="Normalisation", choices=("zscore", "ct"))
    has_fill: bool = setting(False, help="Whether one value stands for outside the body")
    low: float = setting(0.0, help="ct: smallest value kept")
    high: float = setting(0.0, help="ct: largest value kept")
    mean: float = setting(0.0, help="ct: value that becomes 0")
    std: float = setting(1.0, help="ct: difference that becomes 1")
    seen_levels: tuple[float, ...] = setting(
        (), help="Smallest and largest intensity learned from"
    )
    seen_skew: tuple[float, ...] = setting((), help="Range of where the median lies, from 0 to 1")


@dataclass(frozen=True)
class Plan(Config):
    """How volumes become patches. Made by `make_plan`; any field can be overridden."""

    orientation: str = setting("RAS", help="Storage order of the network's volumes")
    spacing_dhw: tuple[float, ...] = setting((1.0, 1.0, 1.0), help="Network voxels in mm")
    shape_dhw: tuple[int, ...] = setting((1, 1, 1), help="Usual size of a volume in these voxels")
    dims: int = setting(3, help="2 treats slices as a batch, 3 sees volumes", choices=(2, 3))
    patch_size: tuple[int, ...] = setting((32, 32, 32), help="Voxels of a patch along D, H, W")
    batch_size: int = setting(2, help="Patches a step", minimum=1)
    widths: tuple[int, ...] = setting((16, 32, 64, 128), help="Channels of each level")
    strides: tuple[Any, ...] = setting((), help="Step into each level, first (1, 1, 1)")
    kernels: tuple[Any, ...] = setting((), help="Kernel of each level")
    channels: tuple[Any, ...] = setting((), help="Normalisation of each channel")
    foreground_fraction: float = setting(
        1 / 3, help="Patches that are centred on a labelled voxel", minimum=0.0, maximum=1.0
    )
    class_values: tuple[int, ...] = setting((), help="Label values that occur, without 0")
    class_frequencies: tuple[float, ...] = setting((), help="Fraction of voxels with each of them")
    memory_bytes: int = setting(0, help="Memory that a training step is expected to need")
    seen_spacing: tuple[Any, ...] = setting((), help="Smallest and largest spacing learned from")
    seen_extent_mm: tuple[Any, ...] = setting((), help="Smallest and largest extent learned from")

    def __post_init__(self) -> None:
        super().__post_init__()
        made = (ChannelPlan.from_dict(c) if isinstance(c, dict) else c for c in self.channels)
        object.__setattr__(self, "channels", tuple(made))
        self._check_axes()
        if self.strides and len(self.strides) != len(self.widths):
            raise ConfigError(
                f"The plan has {len(self.widths)} widths and {len(self.strides)} strides; "
                "give one of each for every level."
            )

    @property
    def left_right_axis(self) -> int:
        """Which of D, H, W (0, 1, 2) runs between the patient's left and right."""
        return 2 - next(index for index, letter in enumerate(self.orientation) if letter in "LR")

    @property
    def size_multiple(self) -> Size:
        """Sizes that the planned network pools without padding."""
        return topology.multiple_of(self.strides) if self.strides else (1, 1, 1)

    @property
    def model_options(self) -> dict[str, Any]:
        """Options that size a backbone's ``plan`` preset."""
        chosen = self.to_dict()
        return {name: chosen[name] for name in ("widths", "strides", "kernels") if chosen[name]}

    def _check_axes(self) -> None:
        letters = {pair for pair in _PAIRS if set(pair) & set(self.orientation)}
        if len(self.orientation) != 3 or letters != set(_PAIRS):
            raise ConfigError(
                f"orientation is {self.orientation!r}; give one letter each of R or L, A or P, "
                "and S or I, such as 'RAS'."
            )
        for name in ("spacing_dhw", "patch_size"):
            values = getattr(self, name)
            if len(values) != 3 or not all(value > 0 for value in values):
                raise ConfigError(f"{name} is {values}; give three positive numbers, D, H and W.")


_PAIRS = ("LR", "AP", "IS")


def make_plan(
    fingerprint: Fingerprint,
    *,
    dims: int = 3,
    memory_bytes: int | None = None,
    device: str = "cpu",
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide everything that a person would otherwise have to set.

    What is overridden is taken as it is, and what depends on it follows from it.

    Args:
        fingerprint: What the cohort is like.
        dims: Dimensions of the network.
        memory_bytes: What a step may use; None asks the machine.
        device: ``"cpu"`` gets patches and widths for steps of about a second.
        overrides: Values of any fields of `Plan`.

    Raises:
        ConfigError: If an override is no field of the plan or out of its limits.
    """
    chosen = {name: value for name, value in (overrides or {}).items() if value is not None}
    dims = chosen.setdefault("dims", dims)
    # A misspelt name should be told before anything is reckoned from it.
    Plan.from_dict({name: value for name, value in chosen.items() if name != "strides"})
    memory = available_memory(device) if memory_bytes is None else memory_bytes
    budget = budget_for(device, dims, memory, classes=max(2, len(fingerprint.class_values)))
    _choose_grid(chosen, fingerprint, budget)
    _choose_network(chosen, budget)
    frequencies = _class_frequencies(fingerprint)
    rare = min((f for _, f in frequencies), default=0.0) < 0.01
    chosen.setdefault("foreground_fraction", 0.5 if rare else 1 / 3)
    chosen.setdefault("class_values", tuple(value for value, _ in frequencies))
    chosen.setdefault("class_frequencies", tuple(frequency for _, frequency in frequencies))
    chosen.setdefault("channels", tuple(map(channel_plan, fingerprint.channels)))
    return Plan.from_dict(chosen)


def channel_plan(facts: ChannelFacts) -> ChannelPlan:
    """Return how a channel is normalised: CT by the cohort's foreground, all else case by case."""
    rows = np.array(facts.cases, dtype=np.float64)  # (cases, 4)
    low, _, high, mean, std = facts.foreground
    width = np.where(rows[:, 2] > rows[:, 0], rows[:, 2] - rows[:, 0], np.nan)
    skew = ((rows[:, 1] - rows[:, 0]) / width)[np.isfinite(width)]
    is_ct = is_ct_name(facts.name) and high > low and std > 0
    return ChannelPlan(
        name=facts.name,
        kind="ct" if is_ct else "zscore",
        has_fill=bool(np.median(rows[:, 3]) > FILL_FRACTION),
        low=low if is_ct else 0.0,
        high=high if is_ct else 0.0,
        mean=mean if is_ct else 0.0,
        std=std if is_ct else 1.0,
        seen_levels=(float(rows[:, 0].min()), float(rows[:, 2].max())),
        seen_skew=(float(skew.min()), float(skew.max())) if skew.size else (),
    )


def is_ct_name(name: str) -> bool:
    """Return whether a modality's name says that intensities are Hounsfield units."""
    words = {word for word in re.split(r"[^A-Z0-9]+", name.upper()) if word}
    return bool(words & {"CT", "CTA", "CBCT", "CECT", "NCCT", "LDCT"}) and "PET" not in words


def _choose_grid(chosen: dict[str, Any], facts: Fingerprint, budget: Budget) -> None:
    spacings, shapes = np.array(facts.spacings_dhw), np.array(facts.shapes_dhw)
    orientation = chosen.setdefault("orientation", orientation_for(spacings, shapes))
    # Letters name i, j, k; the fingerprint counts along S, A, R.
    order = [
        next(p for p, pair in enumerate(("SI", "AP", "LR")) if c in pair) for c in orientation
    ]
    spacings, shapes = spacings[:, order[::-1]], shapes[:, order[::-1]]
    target = chosen.setdefault("spacing_dhw", spacing_for(spacings, shapes, budget.most_voxels))
    on_grid = [network_shape(n, mm, target) for n, mm in zip(shapes, spacings, strict=True)]
    usual = tuple(int(n) for n in np.ceil(np.median(on_grid, axis=0)))
    chosen.setdefault("shape_dhw", usual)
    extents = shapes * spacings
    chosen.setdefault("seen_spacing", _range(spacings))
    chosen.setdefault("seen_extent_mm", _range(extents))


def _choose_network(chosen: dict[str, Any], budget: Budget) -> None:
    shape = cast("Size", tuple(chosen["shape_dhw"]))
    spacing = cast("Spacing", tuple(chosen["spacing_dhw"]))
    dims = chosen["dims"]
    given = chosen.get("widths") or chosen.get("strides")
    levels = len(given) if given else budget.levels

    def strides(patch: Size) -> tuple[Size, ...]:
        if "strides" in chosen:
            return cast("tuple[Size, ...]", tuple(map(tuple, chosen["strides"])))
        found = topology.strides_for(patch, spacing, dims=dims, levels=levels)
        # Widths that were asked for stay, though a small patch cannot be pooled that often.
        missing = levels - len(found) if "widths" in chosen else 0
        return (*found, *[cast("Size", (1, 1, 1))] * missing)

    def widths(patch: Size) -> tuple[int, ...]:
        return tuple(chosen.get("widths") or budget.widths(len(strides(patch))))

    def cost(patch: Size, batch: int) -> int:
        steps, channels = strides(patch), widths(patch)
        deep = min(len(steps), len(channels))
        return step_memory(
            patch, batch, channels[:deep], steps[:deep], dims=dims, classes=budget.classes
        )

    def fits(patch: Size) -> bool:
        voxels = math.prod(patch)
        return voxels <= budget.patch_voxels and cost(patch, 1) <= budget.memory_bytes

    if "patch_size" not in chosen and dims == 3:
        chosen["patch_size"] = topology.largest_patch(shape, spacing, strides, fits=fits)
    elif "patch_size" not in chosen:
        chosen["patch_size"] = topology.largest_slices(shape, strides, fits=fits)
    patch = cast("Size", tuple(chosen["patch_size"]))
    chosen.setdefault("strides", strides(patch))
    chosen.setdefault("widths", widths(patch))
    chosen.setdefault("kernels", topology.kernels_for(chosen["strides"], spacing, dims=dims))
    chosen.setdefault("batch_size", budget.batch_size(math.prod(patch), lambda n: cost(patch, n)))
    chosen.setdefault("memory_bytes", cost(patch, chosen["batch_size"]))


def _class_frequencies(facts: Fingerprint) -> list[tuple[int, float]]:
    total = sum(facts.class_voxels) or 1
    pairs = zip(facts.class_values, facts.class_voxels, strict=True)
    return [(value, count / total) for value, count in pairs if value != 0]


def _range(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    low, high = values.min(axis=0), values.max(axis=0)
    return tuple(map(float, low)), tuple(map(float, high))
