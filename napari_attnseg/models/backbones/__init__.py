"""Backbones: networks that say where attention can sit, and are given it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_attnseg.config import Config, ModelConfig
from napari_attnseg.models.contract import MakeAttention, SegmentationModel
from napari_attnseg.models.sites import SITES
from napari_attnseg.registry import Registry


@dataclass(frozen=True)
class Preset:
    """A named size of a backbone.

    Args:
        summary: One sentence for people.
        options: What differs from the backbone's default options.
        in_channels: Images per case, as published.
        out_channels: Classes with the background, as published.
    """

    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    in_channels: int = 1
    out_channels: int = 2


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry.

    Every backbone has a preset ``"tiny"``, which trains on a CPU in seconds, and one named
    ``"plan"``, whose widths and strides come from the cases.

    Args:
        title: Name for people.
        summary: One sentence with the paper.
        build: From the configuration, the checked options and the attention factory.
        options: Settings class of `build`.
        presets: Named sizes.
        dims: Numbers of dimensions that it can have, the published one first.
        sites: Kinds of place that it offers to attention.
    """

    title: str
    summary: str
    build: Callable[[ModelConfig, Any, MakeAttention], SegmentationModel]
    options: type[Config]
    presets: Mapping[str, Preset]
    dims: tuple[int, ...] = (3, 2)
    sites: tuple[str, ...] = SITES


BACKBONES: Registry[Backbone] = Registry("backbone", "napari_attnseg.models.backbones")
