"""Light 3D U-Nets with one attention module, as compared by Zhang et al. 2022 (PANet)."""

from __future__ import annotations

from typing import Any

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.networks import NETWORKS, Network

BLOCKS = ("encoder", "bottleneck", "decoder")
SLICES: dict[str, Any] = {"depth": 144, "reduction": 8, "slice_reduction": 16}


def _config(
    attention: str, sites: tuple[str, ...], up: str = "nearest", **options: Any
) -> ModelConfig:
    return ModelConfig(
        backbone="unet3d",
        attention=attention,
        sites=sites,
        dims=3,
        in_channels=1,
        out_channels=11,
        preset="light",
        options={"up": up},
        attention_options=options,
    )


NETWORKS.register("AnatomyNet (cSE)")(
    Network(
        "Light 3D U-Net with channel SE at the end of each block",
        _config("se", BLOCKS, reduction=8, bias=True),
    )
)
NETWORKS.register("PENet")(
    Network(
        "Light 3D U-Net with project and excite at the end of each encoder block",
        _config("pe", ("encoder", "bottleneck"), up="linear", average=True, act="prelu"),
    )
)
NETWORKS.register("PANet")(
    Network(
        "Light 3D U-Net with progressive attention at the end of each block",
        _config("pam", BLOCKS, up="linear", **SLICES),
    )
)
NETWORKS.register("PANet + AG")(
    Network(
        "Light 3D U-Net with progressive attention in each block and gates on its skips",
        _config("pam", (*BLOCKS, "skip"), up="linear", has_skip_gate=True, **SLICES),
    )
)
NETWORKS.register("csA-Net")(
    Network(
        "Light 3D U-Net with channel, then slice attention at the end of each block",
        _config("csa", BLOCKS, **SLICES),
    )
)
NETWORKS.register("scA-Net")(
    Network(
        "Light 3D U-Net with slice, then channel attention at the end of each block",
        _config("sca", BLOCKS, **SLICES),
    )
)
