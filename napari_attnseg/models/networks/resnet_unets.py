"""2-D U-Nets with ResNet-50 encoder and SE or CBAM (Li et al. 2021, doi 10.1117/12.2623112)."""

from __future__ import annotations

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.networks import NETWORKS, Network


def _config(attention: str) -> ModelConfig:
    return ModelConfig(
        backbone="resnet-unet",
        attention=attention,
        sites=("concat",),
        dims=2,
        in_channels=3,
        out_channels=1,
        preset="paper",
    )


NETWORKS.register("Res_SE_UNet")(
    Network("U-Net with ResNet-50 encoder and SE where skip and decoder meet", _config("se"))
)
NETWORKS.register("Res_CBAM_UNet")(
    Network("U-Net with ResNet-50 encoder and CBAM where skip and decoder meet", _config("cbam"))
)
