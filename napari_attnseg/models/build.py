"""Build networks: the one place where backbones and attention meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from napari_attnseg.config import ConfigError, ModelConfig
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.backbones import BACKBONES, Backbone
from napari_attnseg.models.contract import ModelError, SegmentationModel, UnknownNameError
from napari_attnseg.models.sites import (
    CONTEXT_SITES,
    INPUT,
    AttentionSite,
    InputSite,
    Site,
    parse_site,
    place_name,
)
from napari_attnseg.registry import UnknownPartError


def build_model(config: ModelConfig) -> SegmentationModel:
    """Return the network that a configuration describes, with fresh weights.

    Raises:
        ModelError: If it cannot be built; the message says why and what to do.
    """
    sites = check_pair(config)
    backbone = BACKBONES[config.backbone]
    placement = Placement(config, ATTENTION[config.attention], sites)
    try:
        options = backbone.options.from_dict(_options(backbone, config))
    except ConfigError as error:
        raise ModelError(f"{backbone.title}: {error}") from error
    model = backbone.build(config, options, placement)
    model.entrance = placement(INPUT, 0, config.in_channels, layer=model.layer_names[0])
    placement.check_all_taken(backbone)
    return model


def places(backbone: Backbone) -> tuple[str, ...]:
    """Return the kinds of place in a network: those of its backbone, and the one before it."""
    return (*backbone.sites, INPUT)


def check_pair(config: ModelConfig) -> tuple[Site, ...]:
    """Return where attention will sit, checking that backbone, attention and places fit.

    Raises:
        UnknownNameError: If a name is that of nothing.
        ModelError: If they do not.
    """
    try:
        backbone, attention = BACKBONES[config.backbone], ATTENTION[config.attention]
    except UnknownPartError as error:
        raise UnknownNameError(error.kind, error.name, error.names) from error
    if config.preset not in backbone.presets:
        raise UnknownNameError(
            f"preset of the {backbone.title}", config.preset, list(backbone.presets)
        )
    reason = why_dims_not(backbone, attention, config.dims)
    if reason:
        raise ModelError(reason)
    wanted = tuple(parse_site(text) for text in config.sites or attention.default_sites)
    for site in wanted:
        reason = why_site_not(backbone, attention, site.name)
        if reason:
            raise ModelError(reason)
    return wanted


def why_dims_not(backbone: Backbone, attention: type[AttentionModule], dims: int) -> str | None:
    """Return the reason why a pair does not work in so many dimensions, or None."""
    for title, has in ((backbone.title, backbone.dims), (attention.title, attention.dims)):
        if dims not in has:
            return f"{title} has no form in {dims} dimensions; use {has[0]}."
    return None


def why_site_not(backbone: Backbone, attention: type[AttentionModule], site: str) -> str | None:
    """Return the reason why attention cannot sit at a kind of place, or None."""
    if site not in places(backbone):
        there = ", ".join(backbone.sites) or "none"
        return f"{backbone.title} has no place {site!r}; its places are {there}."
    if site in attention.sites:
        return None
    if INPUT in attention.sites:
        return (
            f"{attention.title} moves what passes, which would not fit what it is joined with at "
            f"{site!r}; use {INPUT}, after which all maps are brought back."
        )
    if site == INPUT:
        return (
            f"{attention.title} weighs features, of which there are none at {site!r} yet; "
            f"use {', '.join(attention.sites)}."
        )
    if attention.needs_context:
        return (
            f"{attention.title} compares what passes with the coarser decoder map, which {site!r} "
            f"is not given; use {', '.join(CONTEXT_SITES)}."
        )
    return f"{attention.title} does not suit {site!r}; use {', '.join(attention.sites)}."


class Placement:
    """The factory that backbones call at each of their places; it knows what goes where.

    Args:
        config: Of the network that is being built.
        attention: What is put in the wanted places.
        sites: The wanted places.
    """

    def __init__(
        self, config: ModelConfig, attention: type[AttentionModule], sites: tuple[Site, ...]
    ) -> None:
        self._config = config
        self._attention = attention
        self._sites = sites
        self._levels: dict[str, set[int]] = {}

    def __call__(
        self,
        site: str,
        level: int,
        channels: int,
        *,
        layer: str,
        context_channels: int | None = None,
    ) -> nn.Module:
        self._levels.setdefault(site, set()).add(level)
        name, attention = place_name(site, level), self._config.attention
        place = InputSite if site == INPUT else AttentionSite
        if attention == "none" or not self._is_wanted(site, level):
            return place(name, layer)
        wiring = {
            "dims": self._config.dims,
            "context_channels": context_channels,
            "level": level,
            "classes": self._config.out_channels,
        }
        module = self._make(channels, wiring, self._config.attention_options)
        return place(name, layer, attention, module)

    def check_all_taken(self, backbone: Backbone) -> None:
        """Check, after building, that each wanted level exists.

        Raises:
            ModelError: If one does not.
        """
        for site in self._sites:
            levels = self._levels.get(site.name, set())
            for level in site.levels or ():
                if level not in levels:
                    there = ", ".join(map(str, sorted(levels))) or "none"
                    raise ModelError(
                        f"'{site}' asks for level {level}, but the levels of {site.name!r} in "
                        f"this {backbone.title} are: {there}."
                    )

    def _is_wanted(self, site: str, level: int) -> bool:
        return any(
            one.name == site and (one.levels is None or level in one.levels) for one in self._sites
        )

    def _make(
        self, channels: int, wiring: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AttentionModule:
        known = self._attention.options()
        for name in options:
            if name not in known:
                raise ModelError(
                    f"{self._attention.title} has no option {name!r}; "
                    f"its options are {', '.join(known) or 'none'}."
                )
        build: Any = self._attention
        try:
            wanted = {name: wiring[name] for name in self._attention.wiring()}
            return build(channels, **wanted, **options)
        except ValueError as error:
            raise ModelError(f"{self._attention.title}: {error}") from error


def _options(backbone: Backbone, config: ModelConfig) -> dict[str, Any]:
    return {**backbone.presets[config.preset].options, **config.options}
