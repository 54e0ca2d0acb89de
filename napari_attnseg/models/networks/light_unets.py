"""Light 3D U-Nets with one attention module, as compared by Zhang et al. 2022 (PANet)."""

from __future__ import annotations

from typing import Any

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.networks import NETWORKS, Network


def _config(attention: str, sites: tuple[str, ...], **options: Any) -> ModelConfig:
    return ModelConfig(
        backbone="unet3d",
        attention=attention,
        sites=sites,
        dims=3,
        in_channels=1,
        out_channels=11,
        preset="light",
        attention_options=options,
    )


NETWORKS.register("AnatomyNet (cSE)")(
    Network(
        "Light 3D U-Net with channel SE at the end of each block",
        _config("se", ("encoder", "bottleneck", "decoder"), reduction=8, bias=True),
    )
)
NETWORKS.register("PENet")(
    Network(
        "Light 3D U-Net with project and excite at the end of each encoder block",
        _config("pe", ("encoder", "bottleneck"), average=True, act="prelu"),
    )
)
