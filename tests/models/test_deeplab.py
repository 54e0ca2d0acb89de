from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.levels import product
from napari_attnseg.preprocessing import make_plan
from napari_attnseg.preprocessing.fingerprint import fingerprint
from napari_attnseg.volume import Volume

DEEPLABS = ("deeplab-resnet", "deeplab-xception", "deeplab-resnest")
PUBLISHED = {
    "deeplab-resnet": (42_500_160, 1_309_045, 59_344_309),
    "deeplab-xception": (37_867_312, 1_302_901, 54_705_317),
    "deeplab-resnest": (25_434_240, 1_309_045, 42_278_389),
}
PYRAMID = 15_535_104


def made(name: str, dims: int, preset: str = "paper", **options: Any) -> Any:
    config = ModelConfig(
        name, dims=dims, preset=preset, in_channels=3, out_channels=21, options=options
    )
    with torch.device("meta"):
        return build_model(config)


@pytest.mark.parametrize("name", DEEPLABS)
def test_encoder_pyramid_and_decoder_have_the_published_numbers_of_weights(name: str) -> None:
    model = made(name, 2)

    encoder = sum(
        count_parameters(model.layer(one)) for one in model.layer_names if "encoder" in one
    )
    pyramid, whole = count_parameters(model.layer("bottleneck")), count_parameters(model)
    assert pyramid == PYRAMID
    assert (encoder, whole - encoder - pyramid, whole) == PUBLISHED[name]


@pytest.mark.parametrize("name", DEEPLABS)
def test_images_are_seen_at_a_stride_of_16_with_the_published_dilations(name: str) -> None:
    model = made(name, 2)

    assert model.layer_grid("bottleneck", (1, 512, 512)).stride_dhw == (1.0, 16.0, 16.0)
    assert dilations(model) == [(6, 6), (12, 12), (18, 18)]


def test_images_seen_at_a_stride_of_8_have_dilations_twice_as_wide() -> None:
    model = made("deeplab-resnet", 2, output_level=3)

    assert model.layer_grid("bottleneck", (1, 512, 512)).stride_dhw == (1.0, 8.0, 8.0)
    assert dilations(model) == [(12, 12), (24, 24), (36, 36)]


@pytest.mark.parametrize("name", DEEPLABS)
def test_volumes_are_seen_at_a_stride_of_8_with_small_dilations(name: str) -> None:
    model = made(name, 3)

    assert model.layer_grid("bottleneck", (96, 96, 96)).stride_dhw == (8.0, 8.0, 8.0)
    assert dilations(model) == [(2, 2, 2), (4, 4, 4), (6, 6, 6)]


def dilations(model: Any) -> list[tuple[int, ...]]:
    return [scale[0].dilation for scale in list(model.layer("bottleneck").block.scales)[1:]]


COHORTS = [
    ((40, 56, 44), (1.0, 1.0, 1.0)),
    ((24, 160, 192), (5.0, 0.9, 0.8)),
    ((96, 128, 112), (1.0, 1.2, 1.1)),
    ((12, 300, 280), (8.0, 0.7, 0.7)),
    ((20, 18, 22), (1.0, 1.0, 1.0)),
]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("size", "spacing"), COHORTS)
def test_no_dilation_reaches_beyond_the_map_of_a_planned_patch(
    dims: int, size: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(size=(1, *size)).astype(np.float32), np.diag([*spacing[::-1], 1.0]))
    label = Volume((rng.random((1, *size)) > 0.5).astype(np.uint8), image.affine)
    plan = make_plan(fingerprint([(image, label)]), dims=dims, memory_bytes=2**33)
    model = made("deeplab-resnet", dims, "plan", **plan.model_options)

    steps = product(model.strides[: model.last + 1])[3 - dims :]
    patch = plan.patch_size[3 - dims :]
    kernel = model.kernels[model.last][3 - dims :]
    for rate in dilations(model):
        for dilation, voxels, step, taps in zip(rate, patch, steps, kernel, strict=True):
            assert taps == 1 or dilation < -(-voxels // step)


def test_the_pyramid_sees_each_scale_and_the_mean_of_the_whole_map() -> None:
    model: Any = build_model(ModelConfig("deeplab-resnet", dims=3)).eval()
    pyramid = model.layer("bottleneck").block
    x = torch.rand(2, pyramid.scales[0][0].in_channels, 5, 6, 7)

    with torch.no_grad():
        maps = [scale(x) for scale in pyramid.scales]
        whole = pyramid.whole[1](x.mean(dim=(2, 3, 4), keepdim=True)).expand_as(maps[0])
        expected = pyramid.project(torch.cat([*maps, whole], dim=1))

    torch.testing.assert_close(pyramid(x), expected)


def test_a_dilated_scale_is_a_convolution_of_every_so_manieth_voxel() -> None:
    model: Any = build_model(ModelConfig("deeplab-xception", dims=2)).eval()
    conv = model.layer("bottleneck").block.scales[2][0]
    step = conv.dilation[0]
    x = torch.rand(1, conv.in_channels, 3 * step, 3 * step)

    with torch.no_grad():
        thinned = F.conv2d(x[:, :, ::step, ::step], conv.weight, padding=1)

    torch.testing.assert_close(conv(x)[:, :, ::step, ::step], thinned)


@pytest.mark.parametrize("name", DEEPLABS)
@pytest.mark.parametrize("dims", [2, 3])
def test_the_deepest_stride_a_person_asks_for_is_taken(name: str, dims: int) -> None:
    model = made(name, dims, "plan", widths=(4, 8, 8, 8, 8), output_level=4, cost="own")

    assert model.size_multiple == ((16, 16, 16) if dims == 3 else (1, 16, 16))
    assert model.layer_names[-1] == "decoder2"
