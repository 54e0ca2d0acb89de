"""2D U-Net (Ronneberger et al. 2015, arXiv 1505.04597)."""

from __future__ import annotations

from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.unet import UNet, UNetOptions

PAPER = {
    "widths": (64, 128, 256, 512, 1024),
    "norm": "none",
    "activation": "relu",
    "dropout": 0.5,
}

KAGGLE = {
    "widths": (32, 64, 128, 256, 512),
    "norm": "batch",
    "activation": "relu",
    "conv_bias": False,
}

BACKBONES.register("unet2d")(
    Backbone(
        title="2D U-Net",
        summary="Slice by slice, encoder and decoder joined at each level; Ronneberger 2015.",
        build=UNet,
        options=UNetOptions,
        presets={
            "paper": Preset("As published: 64 to 1024 channels, no normalisation", PAPER, 1, 2),
            "kaggle": Preset("32 to 512 channels, batch normalisation", KAGGLE, 3, 1),
            "plan": Preset("Sized by the plan from your cases"),
            "tiny": Preset("Trains on a CPU in seconds", {"widths": (8, 16, 32, 64)}),
        },
        dims=(2, 3),
    )
)
