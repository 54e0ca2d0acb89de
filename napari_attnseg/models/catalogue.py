"""What there is to choose from, and what a choice is, without making any weights."""

from __future__ import annotations

import json
from typing import Any

import torch

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.backbones import BACKBONES
from napari_attnseg.models.build import build_model, places, why_dims_not, why_site_not
from napari_attnseg.models.contract import SegmentationModel
from napari_attnseg.models.counts import KnownCounts
from napari_attnseg.models.networks import NETWORKS
from napari_attnseg.models.recording import AttentionMap
from napari_attnseg.models.sites import AttentionSite

NO_PLACES = "This backbone has no place for attention."


def list_models() -> dict[str, Any]:
    """Return backbones, attention modules, networks and every pair, ready for JSON.

    A pair has the places that its backbone offers and its attention suits; ``refused`` says why
    not for each other place. A pair without any has a `reason`, which is None otherwise.
    """
    known = KnownCounts()
    found = {
        "backbones": [_backbone(name, known) for name in BACKBONES],
        "attentions": [_attention(name) for name in ATTENTION],
        "networks": [_network(name, known) for name in NETWORKS],
        "pairs": [
            _pair(backbone, attention, dims)
            for backbone in BACKBONES
            for attention in ATTENTION
            for dims in (2, 3)
        ],
    }
    known.save()
    return found


def describe_model(config: ModelConfig) -> dict[str, Any]:
    """Return what a configuration builds, ready for JSON, for the drawing in the window.

    ``levels`` are in the order of execution. ``receptive_field_dhw`` counts input voxels seen
    through convolutions and pooling; attention may see everything.
    ``attention`` names the attended places on that level's grid, such as ``"skip0.gate"``.

    Raises:
        ModelError: If it cannot be built.
    """
    model = _on_meta(config)
    return {
        "parameters": count_parameters(model),
        "size_multiple": list(model.size_multiple),
        "context_margin": list(model.context_margin),
        "layers": model.layer_names,
        "levels": [_level(model, name) for name in model.layer_names],
    }


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of weights that can be trained."""
    return sum(one.numel() for one in module.parameters() if one.requires_grad)


def _counted(config: ModelConfig, known: KnownCounts) -> int:
    name = json.dumps(config.to_dict(), sort_keys=True)
    return known.get(name, lambda: count_parameters(_on_meta(config)))


def _on_meta(config: ModelConfig) -> SegmentationModel:
    with torch.device("meta"):
        return build_model(config)


def _backbone(name: str, known: KnownCounts) -> dict[str, Any]:
    backbone = BACKBONES[name]
    return {
        "name": name,
        "title": backbone.title,
        "summary": backbone.summary,
        "dims": list(backbone.dims),
        "sites": list(places(backbone)),
        "presets": [
            _preset(name, preset, dims, known)
            for preset in backbone.presets
            for dims in backbone.dims
        ],
    }


def _preset(name: str, preset: str, dims: int, known: KnownCounts) -> dict[str, Any]:
    facts = BACKBONES[name].presets[preset]
    config = ModelConfig(
        backbone=name,
        dims=dims,
        in_channels=facts.in_channels,
        out_channels=facts.out_channels,
        preset=preset,
    )
    return {
        "name": preset,
        "summary": facts.summary,
        "dims": dims,
        "in_channels": facts.in_channels,
        "out_channels": facts.out_channels,
        "parameters": _counted(config, known),
    }


def _attention(name: str) -> dict[str, Any]:
    attention = ATTENTION[name]
    return {
        "name": name,
        "title": attention.title,
        "summary": (attention.__doc__ or "").strip().splitlines()[0],
        "dims": list(attention.dims),
        "sites": list(attention.sites),
        "default_sites": list(attention.default_sites),
        "kinds": list(attention.kinds),
        "needs_context": attention.needs_context,
        "options": attention.options(),
    }


def _network(name: str, known: KnownCounts) -> dict[str, Any]:
    network = NETWORKS[name]
    config = network.config.to_dict()
    parameters = _counted(network.config, known)
    return {"name": name, "summary": network.summary, **config, "parameters": parameters}


def _pair(backbone_name: str, attention_name: str, dims: int) -> dict[str, Any]:
    backbone, attention = BACKBONES[backbone_name], ATTENTION[attention_name]
    refusal = why_dims_not(backbone, attention, dims)
    whys = {site: refusal or why_site_not(backbone, attention, site) for site in places(backbone)}
    sites = [site for site, why in whys.items() if not why]
    refused = {site: why for site, why in whys.items() if why}
    return {
        "backbone": backbone_name,
        "attention": attention_name,
        "dims": dims,
        "sites": sites,
        "refused": refused,
        "reason": None if sites else refusal or next(iter(refused.values()), NO_PLACES),
    }


def _level(model: SegmentationModel, name: str) -> dict[str, Any]:
    grid = model.layer_grid(name, model.size_multiple)
    sites = [one for one in model.modules() if isinstance(one, AttentionSite)]
    return {
        "name": name,
        "channels": model.layers[name].channels,
        "stride_dhw": list(grid.stride_dhw),
        "offset_dhw": list(grid.offset_dhw),
        "receptive_field_dhw": list(grid.field_dhw),
        "parameters": count_parameters(model.layer(name)),
        "attention": [
            f"{site.name}.{site.attention}"
            for site in sites
            if site.layer == name and site.module is not None
        ],
        "maps": [
            f"{site.name}.{site.attention}.{marker.name}"
            for site in sites
            if site.layer == name
            for marker in site.modules()
            if isinstance(marker, AttentionMap)
        ],
    }
