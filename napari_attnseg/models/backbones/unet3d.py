"""3D U-Net (Çiçek et al. 2016, arXiv 1606.06650)."""

from __future__ import annotations

from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.unet import UNet, UNetOptions

PAPER = {
    "widths": (64, 128, 256, 512),
    "first_conv": "half",
    "norm": "batch",
    "activation": "relu",
    "up_channels": "keep",
    "up_bias": False,
}

LIGHT = {
    "widths": (16, 32, 64, 128),
    "first_conv": "half",
    "norm": "instance",
    "activation": "prelu",
    "norm_last": True,
    "up": "nearest",
}

BACKBONES.register("unet3d")(
    Backbone(
        title="3D U-Net",
        summary="Encoder and decoder joined at each level; Çiçek et al. 2016.",
        build=UNet,
        options=UNetOptions,
        presets={
            "paper": Preset("As published: channels double before pooling", PAPER, 3, 3),
            "light": Preset("16 to 128 channels, norm after activation", LIGHT, 1, 11),
            "plan": Preset("Sized by the plan from your cases"),
            "tiny": Preset("Trains on a CPU in seconds", {"widths": (8, 16, 32)}),
        },
        dims=(3, 2),
    )
)
