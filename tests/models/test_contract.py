from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.config import ModelConfig
from napari_attnseg.models import (
    LayerGrid,
    ModelError,
    ModelOutput,
    SegmentationModel,
    blocks,
    build_model,
    check_pair,
    describe_model,
    list_models,
)
from napari_attnseg.models.attention import ATTENTION, AttentionModule


class Unpadded(SegmentationModel):
    """Two convolutions that shrink their input, as networks with a context margin have."""

    def __init__(self) -> None:
        super().__init__(ModelConfig(out_channels=2), size_multiple=(2, 2, 2))
        self.context_margin = (2, 2, 2)
        block = nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU(), nn.Conv3d(3, 4, 3))
        grid = LayerGrid().after((3, 3, 3), padding=(0, 0, 0)).after((3, 3, 3), padding=(0, 0, 0))
        self.add_layer("encoder0", block, grid, 4)
        self.head = nn.Conv3d(4, 2, 1)

    def network(self, x: Tensor) -> tuple[Tensor, Any]:
        return self.head(self.stages["encoder0"](x)), {}


def test_a_network_without_padding_labels_its_whole_input() -> None:
    model = Unpadded().eval()

    assert model(torch.rand(1, 1, 5, 8, 3)).shape == (1, 2, 5, 8, 3)


def test_a_network_given_context_labels_the_part_inside_it() -> None:
    model = Unpadded().eval()
    x = torch.rand(2, 1, 11, 14, 9)

    inside = model(x, has_context=True)

    torch.testing.assert_close(inside, model(x)[:, :, 2:-2, 2:-2, 2:-2])


def test_the_grid_of_a_network_without_padding_starts_with_what_it_labels() -> None:
    assert Unpadded().layer_grid("encoder0", (5, 8, 3)).offset_dhw == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("dims", [2, 3])
def test_padding_repeats_the_end_of_each_axis(dims: int) -> None:
    model = build_model(ModelConfig("unet3d", dims=dims)).eval()
    x = torch.rand(2, 1, 5, 6, 9)
    padded = F.pad(x, (0, 3, 0, 2, 0, 3 if dims == 3 else 0), mode="replicate")

    with torch.no_grad():
        torch.testing.assert_close(model(x), model(padded)[:, :, :5, :6, :9])


def test_a_2d_network_sees_each_slice_alone() -> None:
    model = build_model(ModelConfig("unet2d", "se", dims=2)).eval()
    x = torch.rand(2, 1, 3, 10, 13)

    with torch.no_grad():
        whole = model(x)
        alone = [model(one) for one in x.split(1, dim=2)]
    torch.testing.assert_close(whole, torch.cat(alone, dim=2))


@pytest.mark.parametrize("size", [(8, 12, 16), (3, 5, 9)])
def test_deep_supervision_adds_maps_at_the_size_of_the_input(size: Size) -> None:
    model = build_model(
        ModelConfig(preset="plan", options={"widths": (2, 2, 2, 2), "deep_supervision": True})
    )
    output = model(torch.rand(2, 1, *size))

    sides = output.auxiliary["deep_supervision"]
    assert [one.shape for one in sides] == [(2, 2, *size)] * 2


def test_deep_supervision_weighs_each_coarser_level_half() -> None:
    model = build_model(ModelConfig(options={"deep_supervision": True}))
    output = ModelOutput(torch.tensor(1.0), {"deep_supervision": [torch.tensor(4.0)]})

    loss = model.auxiliary_loss(output, torch.tensor(0.0), lambda logits, _: logits)

    torch.testing.assert_close(loss, torch.tensor((1.0 + 0.5 * 4.0) / 1.5))


def test_a_network_asked_for_nothing_more_returns_no_auxiliary_tensors() -> None:
    assert build_model(ModelConfig())(torch.rand(1, 1, 4, 4, 4)).auxiliary == {}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (ModelConfig(backbone="unet4d"), "no backbone named 'unet4d'"),
        (ModelConfig(attention="sees"), "Did you mean 'se'"),
        (ModelConfig(preset="huge"), "Known: paper, light, plan, tiny"),
        (ModelConfig(attention="se", sites=("middle",)), "Known: encoder, bottleneck"),
        (ModelConfig(attention="se", sites=("encoder:0-2",)), "write them like 'encoder:0,2'"),
        (ModelConfig(attention="se", sites=("encoder:7",)), "asks for level 7.* are: 0, 1"),
        (ModelConfig(attention="gate", sites=("decoder",)), "coarser decoder map"),
        (ModelConfig(attention="se", sites=("input",)), "weighs features.* none at 'input' yet"),
        (ModelConfig(attention="stn", sites=("skip",)), "moves what passes.* use input"),
        (ModelConfig(attention="presence", sites=("head",)), "coarser decoder map"),
        (ModelConfig(attention="eca", attention_options={"kernel": 4}), "must be odd"),
        (ModelConfig(attention="gate", attention_options={"gates": 0}), "gates is 0"),
        (ModelConfig(attention="pam", attention_options={"mode": "free"}), "adaptive, fixed"),
        (ModelConfig(attention="se", attention_options={"reduce": 2}), "no option 'reduce'"),
        (ModelConfig(attention="se", attention_options={"pooling": "sum"}), "pooling is 'sum'"),
        (ModelConfig(options={"width": [8, 16]}), "Did you mean 'widths'"),
        (ModelConfig(options={"widths": [8]}), "at least two widths"),
        (ModelConfig(options={"strides": [[1, 1, 1], [2, 2, 2]]}), "3 widths and 2 strides"),
        (ModelConfig(options={"strides": [[2, 2, 2]] * 3}), r"must be \(1, 1, 1\)"),
        (ModelConfig(options={"kernels": [[2, 3, 3]] * 3}), "must be odd"),
        (ModelConfig(options={"norm": "layer"}), "choose one of batch"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_sentence(
    config: ModelConfig, sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        build_model(config)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((1, 4, 4, 4), "give \\(batch, channels, D, H, W\\)"), ((1, 2, 4, 4, 4), "has 2 channels")],
)
def test_an_input_that_does_not_fit_is_refused(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        build_model(ModelConfig())(torch.rand(shape))


def test_without_places_attention_sits_as_published() -> None:
    assert [str(site) for site in check_pair(ModelConfig(attention="gate"))] == ["skip"]


def test_levels_choose_where_attention_sits() -> None:
    config = ModelConfig("unet2d", "se", ("encoder:2,0", "concat"), dims=2)

    levels = describe_model(config)["levels"]

    attended = {one["name"]: one["attention"] for one in levels if one["attention"]}
    assert attended == {
        "encoder0": ["encoder0.se"],
        "encoder2": ["encoder2.se"],
        "decoder2": ["concat2.se"],
        "decoder1": ["concat1.se"],
        "decoder0": ["concat0.se"],
    }


def test_a_description_tells_strides_channels_and_receptive_fields() -> None:
    levels = describe_model(ModelConfig("unet2d", dims=2))["levels"]

    assert [one["name"] for one in levels][3] == "bottleneck"
    assert levels[3]["stride_dhw"] == [1.0, 8.0, 8.0]
    assert levels[3]["channels"] == 64
    assert levels[3]["receptive_field_dhw"] == [1, 68, 68]


def test_the_catalogue_says_why_a_pair_has_not_all_places() -> None:
    pairs = list_models()["pairs"]
    (gate,) = (
        one
        for one in pairs
        if (one["backbone"], one["attention"], one["dims"]) == ("unet3d", "gate", 3)
    )

    assert gate["sites"] == ["skip"]
    assert "coarser decoder map" in gate["refused"]["decoder"]
    assert gate["reason"] is None


def test_a_module_that_is_registered_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubling(AttentionModule):
        """Doubles what passes."""

        title = "Doubling"
        sites = ("head",)
        default_sites = ("head",)

        def __init__(self, channels: int, *, dims: int = 3, context_channels: int | None = None):
            super().__init__()

        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return 2 * x

    len(ATTENTION)
    monkeypatch.setitem(ATTENTION._parts, "doubling", Doubling)
    model = build_model(ModelConfig(attention="doubling"))
    plain = build_model(ModelConfig())
    plain.load_state_dict(model.state_dict())
    for one in (model, plain):
        nn.init.zeros_(one.head.bias)

    x = torch.rand(1, 1, 4, 8, 12)
    torch.testing.assert_close(model.eval()(x), 2 * plain.eval()(x))
    assert "doubling" in {one["name"] for one in list_models()["attentions"]}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_norm_trains_on_one_voxel(dims: int, kind: str, batch: int) -> None:
    norm: Any = blocks.norm(dims, kind, 4)
    x = torch.rand(batch, 4, *[1] * dims)

    y = norm(x)

    if batch == 1 or kind == "instance":
        expected = F.layer_norm(x.flatten(1), (4,)).reshape(x.shape)
        if kind != "group":
            torch.testing.assert_close(y, expected)
    assert y.isfinite().all()


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
def test_a_norm_has_the_weights_of_that_of_torch(kind: str) -> None:
    plain: dict[str, nn.Module] = {
        "batch": nn.BatchNorm3d(4),
        "instance": nn.InstanceNorm3d(4, affine=True),
        "group": nn.GroupNorm(2, 4),
    }
    norm = blocks.norm(3, kind, 4)
    norm.load_state_dict(plain[kind].state_dict())
    x = torch.rand(2, 4, 3, 4, 5)

    torch.testing.assert_close(norm(x), plain[kind](x))
    assert isinstance(norm, type(plain[kind]))


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 9, 16, 24])
def test_group_normalisation_has_groups_of_two_channels_or_more(channels: int) -> None:
    norm: Any = blocks.norm(3, "group", channels)

    assert channels % norm.num_groups == 0
    assert channels // norm.num_groups >= 2 or channels == 1
