"""3D U-Nets with attention gates on their skips (Oktay et al. 2018, arXiv 1804.03999)."""

from __future__ import annotations

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.networks import NETWORKS, Network

OPTIONS = {
    "widths": (16, 32, 64, 128, 256),
    "norm": "batch",
    "activation": "relu",
    "up": "linear",
    "head": "levels",
    "gating": True,
}


def _config(gates: int) -> ModelConfig:
    return ModelConfig(
        backbone="unet3d",
        attention="gate",
        sites=("skip:1,2,3",),
        dims=3,
        in_channels=1,
        out_channels=4,
        preset="plan",
        options=OPTIONS,
        attention_options={"gates": gates, "reduction": 1, "has_combination": True},
    )


NETWORKS.register("Attention U-Net")(
    Network("3D U-Net with a gate on each skip but the first, all levels scored", _config(1))
)
NETWORKS.register("Attention U-Net (multi-gate)")(
    Network("3D U-Net with two gates on each skip but the first, all levels scored", _config(2))
)
