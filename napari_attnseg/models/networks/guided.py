"""Multi-scale guided attention and its ablations (Sinha and Dolz 2020, arXiv 1906.02849)."""

from __future__ import annotations

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.networks import NETWORKS, Network

FORMS = {
    "MS-Dual-Guided": ("guided", "Dual attention at four scales, refined under guidance"),
    "MS-Dual": ("multi-scale", "Dual attention at four scales that see each other, unguided"),
    "Dual": ("dual", "Dual attention at four scales, each for itself"),
    "MS-Dual-Guided (baseline)": ("baseline", "Four scales of a ResNeXt-101 without attention"),
}

for _name, (_form, _summary) in FORMS.items():
    NETWORKS.register(_name)(
        Network(
            _summary,
            ModelConfig(
                backbone="guided",
                dims=2,
                in_channels=1,
                out_channels=5,
                preset="paper",
                options={"form": _form},
            ),
        )
    )
