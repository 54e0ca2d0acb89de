from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import build_model, describe_model, network_config
from napari_attnseg.models.catalogue import count_parameters

NETWORKS = {"Res_SE_UNet": ("se", 72_645_337), "Res_CBAM_UNet": ("cbam", 72_649_852)}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_has_the_published_number_of_weights(network: str) -> None:
    with torch.device("meta"):
        model = build_model(network_config(network))

    assert count_parameters(model) == NETWORKS[network][1]


@pytest.mark.parametrize("network", NETWORKS)
def test_attention_sits_on_each_of_five_concatenations(network: str) -> None:
    levels = describe_model(network_config(network))["levels"]

    name = NETWORKS[network][0]
    attended = [one for level in levels for one in level["attention"]]
    assert attended == [f"concat{level}.{name}" for level in (4, 3, 2, 1, 0)]


def test_levels_have_the_published_channels() -> None:
    with torch.device("meta"):
        model: Any = build_model(network_config("Res_SE_UNet"))

    channels = {name: model.layers[name].channels for name in model.layer_names}
    assert [channels[f"encoder{level}"] for level in (1, 2, 3, 4)] == [64, 256, 512, 1024]
    assert channels["bottleneck"] == 2048
    assert [channels[f"decoder{level}"] for level in (4, 3, 2, 1, 0)] == [1024, 512, 256, 64, 64]
    assert model.layers["decoder0"].grid.stride_dhw == (1.0, 1.0, 1.0)


def test_the_finest_decoder_level_sees_the_image_itself() -> None:
    model: Any = build_model(ModelConfig("resnet-unet", dims=3, in_channels=2)).eval()
    seen: list[Any] = []
    model.layer("decoder0").register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.rand(1, 2, 8, 16, 24)

    with torch.no_grad():
        model(x)

    torch.testing.assert_close(seen[0][:, :2], x)


def test_the_first_stage_comes_after_pooling_of_three_voxels() -> None:
    with torch.device("meta"):
        model: Any = build_model(network_config("Res_SE_UNet"))
    first: Any = model.layer("encoder2").block

    assert isinstance(first.maxpool, nn.MaxPool2d)
    assert (first.maxpool.kernel_size, first.maxpool.stride) == ((3, 3), (2, 2))
    assert [
        len(getattr(model.layer(name).block, f"layer{n}"))
        for n, name in enumerate(("encoder2", "encoder3", "encoder4", "bottleneck"), start=1)
    ] == [3, 4, 6, 3]
