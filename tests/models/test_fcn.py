from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model
from napari_attnseg.models.backbones.fcn import bilinear
from napari_attnseg.models.catalogue import count_parameters

FCNS = ("fcn8s", "fcn16s", "fcn32s")
PUBLISHED = {
    "fcn8s": 134_489_759,
    # Without the score of pool3 and one deconvolution, and with one of 32 instead of 16.
    "fcn16s": 134_489_759 - 5_397 - 7_056 - 112_896 + 21 * 21 * 32**2,
    "fcn32s": 134_489_759 - 5_397 - 10_773 - 2 * 7_056 - 112_896 + 21 * 21 * 64**2,
}


def published(name: str, dims: int, **changes: Any) -> Any:
    config = ModelConfig(
        name, dims=dims, preset="paper", in_channels=3, out_channels=21, options=changes
    )
    with torch.device("meta"):
        return build_model(config)


@pytest.mark.parametrize("name", FCNS)
def test_an_fcn_has_the_published_number_of_weights(name: str) -> None:
    assert count_parameters(published(name, 2)) == PUBLISHED[name]


@pytest.mark.parametrize("name", FCNS)
def test_in_volumes_an_fcn_stays_below_60_million_weights(name: str) -> None:
    assert count_parameters(published(name, 3)) < 60_000_000


def test_a_width_factor_makes_every_layer_thinner() -> None:
    model = published("fcn8s", 2, width_factor=0.25)

    channels = [model.layers[name].channels for name in model.layer_names]
    assert channels == [16, 32, 64, 128, 128, 1024]


@pytest.mark.parametrize(
    ("dims", "stride"), [(2, (1, 2, 2)), (2, (1, 8, 4)), (3, (1, 2, 3)), (3, (4, 2, 8))]
)
def test_an_upsampling_layer_starts_as_linear_interpolation(dims: int, stride: Size) -> None:
    x = torch.rand(2, 3, *(4, 5, 6)[3 - dims :])
    steps = stride[3 - dims :]

    finer = bilinear(dims, 3, stride)(x)

    mode = "trilinear" if dims == 3 else "bilinear"
    factors = tuple(map(float, steps))
    expected = F.interpolate(x, scale_factor=factors, mode=mode, align_corners=False)
    assert finer.shape == expected.shape
    # At the border the layer sees zeros, interpolation the last voxel.
    inner = (slice(None), slice(None), *(slice(s, -s) for s in steps))
    torch.testing.assert_close(finer[inner], expected[inner])


@pytest.mark.parametrize("name", FCNS)
def test_an_fcn_starts_with_no_class_preferred(name: str) -> None:
    model = build_model(ModelConfig(name, dims=2, out_channels=3)).eval()

    with torch.no_grad():
        logits = model(torch.rand(1, 1, 2, 16, 24))

    torch.testing.assert_close(logits, torch.zeros_like(logits), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "fused"), [("fcn32s", []), ("fcn16s", [4]), ("fcn8s", [4, 3])])
def test_an_fcn_scores_the_maps_of_its_strides(name: str, fused: list[int]) -> None:
    model = published(name, 2)

    assert model.fused == fused
    assert model.to_input.stride == (int(name[3:-1]),) * 2


def test_scores_of_coarse_and_fine_maps_are_added() -> None:
    model: Any = build_model(ModelConfig("fcn8s", dims=2)).eval()
    seen: dict[str, Tensor] = {}
    for name in model.scores:
        torch.nn.init.normal_(model.scores[name].weight)
        model.scores[name].register_forward_hook(
            lambda *args, name=name: seen.__setitem__(name, args[-1])
        )

    with torch.no_grad():
        logits = model.network(torch.rand(2, 1, 16, 24))[0]
        two = model.ups["2"](seen["3"]) + seen["2"]
        expected = model.to_input(model.ups["1"](two) + seen["1"])

    torch.testing.assert_close(logits, expected)


def test_an_fcn_that_fuses_nothing_has_no_skip_for_attention() -> None:
    with pytest.raises(ModelError, match="FCN-32s has no place 'skip'"):
        build_model(ModelConfig("fcn32s", "gate"))
