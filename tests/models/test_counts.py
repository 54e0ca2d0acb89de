from __future__ import annotations

from typing import Any

import pytest
import torch

from napari_attnseg.models import list_models, network_config
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.build import build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.contract import ModelError

PRESETS = {
    ("unet3d", "paper", 3): 19_074_627,
    ("unet3d", "light", 3): 1_022_259,
    ("unet2d", "paper", 2): 31_030_658,
    ("unet2d", "paper", 3): 90_292_738,
    ("unet2d", "kaggle", 2): 7_763_041,
}
NETWORKS = {
    "SE_UNet": 7_806_561,
    "Full_SE_UNet": 7_817_569,
    "CBAM_UNet": 7_774_831,
    "AnatomyNet (cSE)": 1_029_439,
    "PENet": 1_044_499,
    "PANet": 1_189_343,
    "PANet + AG": 1_222_050,
    "csA-Net": 1_189_343,
    "scA-Net": 1_189_343,
    "Attention U-Net": 6_214_151,
    "Attention U-Net (multi-gate)": 6_473_322,
}
MODULES = [
    ("se", 3, {}, 512),
    ("se", 2, {}, 512),
    ("cbam", 2, {}, 680),
    ("cbam", 3, {}, 1_268),
    ("pe", 2, {}, 4_192),
    ("pe", 3, {}, 4_192),
    ("gate", 2, {"context_channels": 128}, 16_641),
    ("gate", 3, {"context_channels": 128}, 24_833),
    ("none", 3, {}, 0),
    ("slice", 3, {"depth": 144}, 175_680),
    ("slice", 3, {"depth": 144, "reduction": 8}, 342_144),
    ("split", 2, {}, 43_488),
    ("split", 3, {}, 117_216),
    ("dual-position", 2, {}, 5_201),
    ("dual-position", 3, {}, 5_201),
    ("dual-channel", 3, {}, 1),
    ("dual", 3, {}, 5_202),
    ("eca", 3, {}, 3),
]


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return list_models()


@pytest.mark.parametrize(("backbone", "preset", "dims"), PRESETS)
def test_a_preset_has_the_published_number_of_weights(
    models: dict[str, Any], backbone: str, preset: str, dims: int
) -> None:
    (entry,) = (one for one in models["backbones"] if one["name"] == backbone)
    (row,) = (one for one in entry["presets"] if (one["name"], one["dims"]) == (preset, dims))

    assert row["parameters"] == PRESETS[backbone, preset, dims]


def test_the_3d_unet_paper_counts_no_normalisation() -> None:
    with torch.device("meta"):
        model = build_model(
            network_config("PENet").replace(
                attention="none",
                attention_options={},
                sites=(),
                preset="paper",
                options={},
                in_channels=3,
                out_channels=3,
            )
        )
    norms = sum(
        count_parameters(one) for one in model.modules() if isinstance(one, torch.nn.BatchNorm3d)
    )

    assert count_parameters(model) - norms == 19_069_955


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_has_the_published_number_of_weights(
    models: dict[str, Any], network: str
) -> None:
    (row,) = (one for one in models["networks"] if one["name"] == network)

    assert row["parameters"] == NETWORKS[network]


@pytest.mark.parametrize(("name", "dims", "options", "weights"), MODULES)
def test_an_attention_module_has_the_published_number_of_weights(
    name: str, dims: int, options: dict[str, Any], weights: int
) -> None:
    build: Any = ATTENTION[name]

    assert count_parameters(build(64, dims=dims, **options)) == weights


def test_progressive_attention_has_the_published_number_of_weights() -> None:
    module = ATTENTION["pam"](6, depth=16, slice_reduction=4, reduction=2)  # type: ignore[call-arg]

    assert count_parameters(module) == 933


def test_slice_and_channel_attention_have_as_many_weights_in_any_order() -> None:
    made = [ATTENTION[name](24, depth=32) for name in ("csa", "sca", "pam")]  # type: ignore[call-arg]

    assert len({count_parameters(one) for one in made}) == 1


def test_the_attention_unet_without_gates_has_the_published_number_of_weights() -> None:
    config = network_config("Attention U-Net", attention="none", sites=(), attention_options={})

    with torch.device("meta"):
        assert count_parameters(build_model(config)) == 5_888_004


def test_a_network_can_be_given_other_images_and_classes() -> None:
    config = network_config("SE_UNet", in_channels=2, out_channels=5)

    assert build_model(config)(torch.rand(1, 2, 2, 16, 16)).logits.shape == (1, 5, 2, 16, 16)


def test_an_unknown_network_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ModelError, match="SE_UNet"):
        network_config("SEUNet")
