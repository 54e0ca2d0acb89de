"""2-D U-Nets with SE and CBAM (Li et al. 2021, doi 10.1117/12.2623112)."""

from __future__ import annotations

from typing import Any

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.networks import NETWORKS, Network

EVERYWHERE = ("encoder", "concat", "head")
POOLED = {"encoder_site": "pooled"}


def _config(attention: str, sites: tuple[str, ...], **options: Any) -> ModelConfig:
    return ModelConfig(
        backbone="unet2d",
        attention=attention,
        sites=sites,
        dims=2,
        in_channels=3,
        out_channels=1,
        preset="kaggle",
        options=options,
    )


NETWORKS.register("SE_UNet")(
    Network("2D U-Net with SE where skip and decoder meet", _config("se", ("concat",)))
)
NETWORKS.register("Full_SE_UNet")(
    Network(
        "2D U-Net with SE after pooling, where skip and decoder meet, and before the output",
        _config("se", EVERYWHERE, **POOLED),
    )
)
NETWORKS.register("CBAM_UNet")(
    Network(
        # The deepest skip is attended in the encoder, because the bottleneck sees it too.
        "2D U-Net with CBAM on its skips",
        _config("cbam", ("skip:0,1,2", "encoder:3")),
    )
)
NETWORKS.register("Full_CBAM_UNet")(
    Network(
        "2D U-Net with CBAM after pooling, where skip and decoder meet, and before the output",
        _config("cbam", EVERYWHERE, **POOLED),
    )
)
