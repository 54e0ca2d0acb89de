"""Networks of MONAI, which give what MONAI's own give with the same weights."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.sizing import multiply_adds

SEGRESNET = {"width": 16, "blocks": (1, 2, 1), "decoder_blocks": 2}
SWIN = {"width": 12, "depths": (2, 1, 1, 1), "window": 3}


def monai_segresnet(dims: int, channels: int) -> Any:
    from monai.networks.nets import SegResNet

    return SegResNet(
        dims, 16, channels, 3, blocks_down=(1, 2, 1), blocks_up=(2, 2), dropout_prob=None
    )


def monai_swinunetr(dims: int, channels: int) -> Any:
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(
        channels, 3, depths=(2, 1, 1, 1), window_size=3, feature_size=12, spatial_dims=dims
    )


def ours(name: str, dims: int, channels: int, attention: str = "none") -> Any:
    options = SEGRESNET if name == "segresnet" else SWIN
    return build_model(
        ModelConfig(
            name, attention, (), dims, channels, out_channels=3, preset="monai", options=options
        )
    )


def pair_of(name: str, dims: int, channels: int = 2) -> tuple[Any, Any]:
    """Return our network and MONAI's, with the same weights, none of which says nothing."""
    torch.manual_seed(0)
    theirs = (
        monai_segresnet(dims, channels) if name == "segresnet" else monai_swinunetr(dims, channels)
    )
    for weight in theirs.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    model = ours(name, dims, channels)
    model.load_theirs(theirs.state_dict())
    return model.eval(), theirs.eval()


NAMES = pytest.mark.parametrize("name", ["segresnet", "swinunetr"])
DIMS = pytest.mark.parametrize("dims", [2, 3])


@NAMES
@DIMS
def test_the_logits_are_those_of_monai(name: str, dims: int) -> None:
    model, theirs = pair_of(name, dims)
    x = torch.randn(1, 2, 32 if dims == 3 else 2, 32, 64)

    with torch.no_grad():
        found = model(x)
        expected = (
            theirs(x)
            if dims == 3
            else torch.stack([theirs(x[:, :, index]) for index in range(2)], dim=2)
        )

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@NAMES
@DIMS
def test_every_weight_of_monai_has_a_place(name: str, dims: int) -> None:
    model, theirs = pair_of(name, dims)

    assert set(model.their_names.values()) == set(theirs.state_dict())
    assert count_parameters(model) == count_parameters(theirs)
    assert all(torch.equal(model.state_dict()[a], theirs.state_dict()[b])
               for a, b in model.their_names.items())  # fmt: skip


@NAMES
def test_gradients_are_those_of_monai(name: str) -> None:
    model, theirs = pair_of(name, 2)
    x = torch.randn(1, 2, 1, 32, 64)
    for one, logits in ((model, model(x)[:, :, 0]), (theirs, theirs(x[:, :, 0]))):
        one.zero_grad()
        logits.square().mean().backward()

    found = dict(model.named_parameters())
    for name_, weight in theirs.named_parameters():
        (mine,) = (a for a, b in model.their_names.items() if b == name_)
        torch.testing.assert_close(found[mine].grad, weight.grad, rtol=1e-3, atol=1e-5)


def test_any_size_is_padded_to_what_the_transformer_needs() -> None:
    model, theirs = pair_of("swinunetr", 3)
    x = torch.randn(1, 2, 5, 30, 33)
    padded = F.pad(x, (0, 31, 0, 2, 0, 27), mode="replicate")

    with torch.no_grad():
        found, expected = model(x), theirs(padded)[:, :, :5, :30, :33]

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@NAMES
def test_added_attention_keeps_its_weights_when_those_of_monai_are_loaded(name: str) -> None:
    model = ours(name, 2, 1, "se")
    theirs = monai_segresnet(2, 1) if name == "segresnet" else monai_swinunetr(2, 1)
    added = {key: one.clone() for key, one in model.state_dict().items() if ".module." in key}

    model.load_theirs(theirs.state_dict())

    assert added
    assert all(torch.equal(model.state_dict()[key], one) for key, one in added.items())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("convInit.conv.weight"), "have no 'convInit.conv.weight'"),
        (
            lambda state: state.update({"convInit.conv.weight": torch.zeros(1)}),
            r"'convInit.conv.weight' is \(1,\), but this network needs \(16, 1, 3, 3\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Any, sentence: str) -> None:
    model, state = ours("segresnet", 2, 1), monai_segresnet(2, 1).state_dict()
    before: dict[str, Tensor] = {key: one.clone() for key, one in model.state_dict().items()}
    change(state)

    with pytest.raises(ModelError, match=sentence):
        model.load_theirs(state)
    assert all(torch.equal(model.state_dict()[key], one) for key, one in before.items())


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("segresnet", {"blocks": (1,)}, "blocks is .*two or more positive"),
        ("segresnet", {"width": 12}, "width is 12 and groups 8"),
        ("swinunetr", {"width": 20}, "width is 20; give a multiple of 12"),
        ("swinunetr", {"depths": (2, 2)}, "give four numbers each"),
    ],
)
def test_what_monai_cannot_build_is_refused_with_a_sentence(
    name: str, options: Any, sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        build_model(ModelConfig(name, options=options))


def as_means(model: Any) -> Any:
    """Return a network that gives the mean of the voxels that a voxel is made of."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            kind = type(child).__name__
            if "Norm" in kind or kind == "SwinTransformerBlock":
                setattr(parent, name, Passing())
    model.normalises = False
    for one in model.modules():
        if isinstance(one, torch.nn.Linear):
            torch.nn.init.constant_(one.weight, 1 / one.in_features)
        if isinstance(one, torch.nn.modules.conv._ConvNd):
            set_middle(one)
    return model.double().eval()


def set_middle(one: Any) -> None:
    middle = [n // 2 if n % 2 else slice(None) for n in one.kernel_size]
    one.weight.data.zero_()
    one.weight.data[(slice(None), slice(None), *middle)] = 1.0
    one.weight.data /= one.weight.data.sum() / one.out_channels
    if one.bias is not None:
        one.bias.data.zero_()


class Passing(torch.nn.Module):
    def forward(self, x: Tensor, *_: Any) -> Tensor:
        return x


@NAMES
@DIMS
def test_the_voxels_of_every_level_lie_where_its_grid_says(name: str, dims: int) -> None:
    model = as_means(build_model(ModelConfig(name, dims=dims)))
    size = (32 if dims == 3 else 3, 32, 64)
    ruler = torch.stack(torch.meshgrid(*(torch.arange(n).double() for n in size), indexing="ij"))[
        :, None
    ]
    seen: dict[str, Tensor] = {}
    for layer in model.layer_names:
        model.layer(layer).register_forward_hook(
            lambda *args, layer=layer: seen.__setitem__(layer, model.unfold(args[-1], 4))
        )

    with torch.no_grad():
        model(torch.cat([torch.ones_like(ruler[:1]), ruler]))

    for layer in (one for one in model.layer_names if not one.startswith("decoder")):
        ones, *found = seen[layer].mean(dim=1)
        grid = model.layer_grid(layer, size)
        for axis in range(3):
            steps = torch.arange(ones.shape[axis]).double()
            expected = grid.offset_dhw[axis] + grid.stride_dhw[axis] * steps
            shape = [-1 if one == axis else 1 for one in range(3)]
            torch.testing.assert_close(found[axis] / ones, expected.reshape(shape).expand_as(ones))


@NAMES
def test_a_planned_network_costs_about_as_much_as_the_planned_unet(name: str) -> None:
    settings: dict[str, Any] = {"preset": "plan", "options": {"widths": (16, 32, 64, 128)}}
    with torch.device("meta"):
        unet, found = (
            multiply_adds(build_model(ModelConfig(one, **settings)), (32, 32, 32))
            for one in ("unet3d", name)
        )

    # The transformer's width comes in steps of twelve, and is the largest that costs no more.
    assert (0.4 if name == "swinunetr" else 0.8) < found / unet < 1.25


def test_a_planned_segresnet_steps_no_deeper_than_the_plan_does_along_any_axis() -> None:
    strides = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    options = {"widths": (8, 16, 32, 32), "strides": strides}

    model = build_model(ModelConfig("segresnet", preset="plan", options=options))

    assert model.size_multiple == (4, 4, 4)


def test_monai_is_not_imported_before_one_of_its_networks_is_built() -> None:
    code = (
        "import sys; from napari_attnseg.models.backbones import BACKBONES; "
        "from napari_attnseg.models import build_model; from napari_attnseg.config import "
        "ModelConfig; names = list(BACKBONES); build_model(ModelConfig()); "
        "assert 'segresnet' in names and 'monai' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
