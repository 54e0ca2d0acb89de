"""Deeply supervised 3D U-Net (Dou et al. 2017, doi 10.1016/j.media.2017.05.001)."""

from __future__ import annotations

from napari_attnseg.models.backbones import BACKBONES, Backbone, Preset
from napari_attnseg.models.unet import UNet, UNetOptions

SUPERVISED = {"deep_supervision": True, "side_kernel": 3}

# Coarse scores come from kernels of 3, as in the released network; there, they are those of
# transposed convolutions, which at a stride of 4 reach only one voxel in eight.
LIGHT = {
    **SUPERVISED,
    "widths": (16, 32, 64, 128),
    "first_conv": "half",
    "norm": "instance",
    "activation": "prelu",
    "norm_last": True,
    "up": "linear",
}

BACKBONES.register("dsn")(
    Backbone(
        title="Deeply supervised 3D U-Net",
        summary="A 3D U-Net whose coarser decoder levels learn too; after Dou et al. 2017.",
        build=UNet,
        options=UNetOptions,
        presets={
            "light": Preset("16 to 128 channels, norm after activation", LIGHT, 1, 11),
            "plan": Preset("Sized by the plan from your cases", SUPERVISED),
            "tiny": Preset("Trains on a CPU in seconds", {**SUPERVISED, "widths": (8, 16, 32)}),
        },
        dims=(3, 2),
    )
)
