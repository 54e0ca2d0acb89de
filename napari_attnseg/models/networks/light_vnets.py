"""Light V-Nets with one attention module, as compared by Zhang et al. 2022 (PANet)."""

from __future__ import annotations

from typing import Any

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.networks import NETWORKS, Network

BLOCKS = ("encoder", "bottleneck", "decoder")
# The bottleneck, level 4, only weighs its channels.
SLICES: dict[str, Any] = {
    "depth": 144,
    "reduction": 4,
    "slice_reduction": 8,
    "last_slice_level": 3,
}


def _config(attention: str, **options: Any) -> ModelConfig:
    return ModelConfig(
        backbone="vnet",
        attention=attention,
        sites=BLOCKS,
        dims=3,
        in_channels=1,
        out_channels=11,
        preset="light",
        attention_options=options,
    )


NETWORKS.register("cSE-VNet")(
    Network(
        "Light V-Net with channel SE at the end of each block",
        _config("se", reduction=8, bias=True),
    )
)
NETWORKS.register("PANet-VNet")(
    Network(
        "Light V-Net with progressive attention at the end of each block", _config("pam", **SLICES)
    )
)
NETWORKS.register("csA-VNet")(
    Network(
        "Light V-Net with channel, then slice attention at the end of each block",
        _config("csa", **SLICES),
    )
)
NETWORKS.register("scA-VNet")(
    Network(
        "Light V-Net with slice, then channel attention at the end of each block",
        _config("sca", **SLICES),
    )
)
