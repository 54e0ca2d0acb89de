"""The spatial transformer: the identity at the start, and logits on the voxels of the image."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import explain_tensor
from napari_attnseg.models import LayerGrid, SegmentationModel, build_model, record
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.attention.stn import MODES
from napari_attnseg.models.backbones import BACKBONES

QUARTER = math.pi / 2


def transformer(dims: int, numbers: list[float], mode: str = "affine") -> Any:
    """Return a transformer that predicts the same numbers for every image."""
    build: Any = ATTENTION["stn"]
    module = build(1, dims=dims, mode=mode)
    module.out.bias.data = torch.tensor(numbers)
    return module


class Blurring(SegmentationModel):
    """Averages over a cube, which is the same from all sides; its border is lost if unpadded."""

    def __init__(self, dims: int, margin: int = 0) -> None:
        super().__init__(ModelConfig(dims=dims))
        self.context_margin = (margin if dims == 3 else 0, margin, margin)
        self.pool: Any = (nn.AvgPool3d if dims == 3 else nn.AvgPool2d)(
            3, 1, 0 if margin else 1, count_include_pad=False
        )
        self.coarse: Any = nn.AvgPool3d(2) if dims == 3 else nn.AvgPool2d(2)
        coarse = LayerGrid().after((2, 2, 2), (2, 2, 2), (0, 0, 0))
        self.add_layer("encoder0", self.pool, LayerGrid(), 1)
        self.add_layer("bottleneck", self.coarse, coarse, 1)

    def network(self, x: Tensor) -> tuple[Tensor, Any]:
        self.coarse(x)
        blurred = self.pool(x)
        return blurred, {"again": [blurred]}


def through(module: Any, model: SegmentationModel) -> SegmentationModel:
    model.entrance = build_model(
        ModelConfig(attention="stn", dims=model.dims, preset="tiny")
    ).entrance
    model.entrance.module = module
    return model


def blob(*size: int) -> Tensor:
    """Return a smooth lump away from the middle."""
    axes = [torch.linspace(-1, 1, n) for n in size]
    places = torch.meshgrid(*axes, indexing="ij")
    centre = (0.1, -0.3, 0.2)[-len(size) :]
    square = sum((p - c) ** 2 for p, c in zip(places, centre, strict=True))
    return torch.exp(-6 * square)[None, None]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dims", [2, 3])
def test_it_starts_as_the_identity(dims: int, mode: str) -> None:
    config = ModelConfig(attention="stn", dims=dims, attention_options={"mode": mode})
    model = build_model(config).eval()
    plain = build_model(config.replace(attention="none", attention_options={})).eval()
    weights = {k: v for k, v in model.state_dict().items() if ".module." not in k}
    plain.load_state_dict(weights)
    x = torch.rand(2, 1, 5, 9, 7)

    with torch.no_grad():
        torch.testing.assert_close(model(x), plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("dims", "mode", "count"),
    [(2, "affine", 6), (3, "affine", 12), (2, "similarity", 4), (3, "similarity", 7)],
)
def test_a_transform_has_the_published_number_of_free_numbers(
    dims: int, mode: str, count: int
) -> None:
    build: Any = ATTENTION["stn"]

    assert build(1, dims=dims, mode=mode).out.out_features == count


@pytest.mark.parametrize(
    ("mode", "numbers"),
    [
        ("rotation", [0.3, -0.2, 0.4]),
        ("scale", [0.2]),
        ("translation", [0.1, -0.2, 0.15]),
        ("similarity", [0.2, 0.1, -0.2, -0.1, 0.1, 0.05, -0.1]),
        ("affine", [0.1, -0.2, 0.0, 0.1, 0.05, 0.1, -0.1, 0.0, 0.15, 0.1, -0.1, 0.05]),
    ],
)
@pytest.mark.parametrize("margin", [0, 1])
def test_logits_come_back_to_the_voxels_of_the_image(
    mode: str, numbers: list[float], margin: int
) -> None:
    model = through(transformer(3, numbers, mode), Blurring(3, margin)).eval()
    x = blob(24, 32, 28)
    plain = Blurring(3, margin).eval()

    moved, still = model(x), plain(x)

    inner = (slice(None), slice(None), *[slice(7, -7)] * 3)
    seen, _ = model.entrance(x)
    assert (seen - x).abs().max() > 0.1
    torch.testing.assert_close(moved[inner], still[inner], rtol=0, atol=0.08)  # blurred a little
    torch.testing.assert_close(centre(moved[inner]), centre(still[inner]), rtol=0, atol=0.05)


def centre(x: Tensor) -> Tensor:
    """Return the centre of mass, in voxels."""
    places = torch.stack(torch.meshgrid(*map(torch.arange, x.shape[2:]), indexing="ij"))
    return (places * x[0]).flatten(1).sum(dim=1) / x.sum()


def test_logits_come_back_in_2d_for_each_slice() -> None:
    model = through(transformer(2, [0.4], "rotation"), Blurring(2)).eval()
    x = blob(5, 33, 27)

    inner = (slice(None), slice(None), slice(None), slice(7, -7), slice(7, -7))
    torch.testing.assert_close(model(x)[inner], Blurring(2).eval()(x)[inner], rtol=0.03, atol=0.02)


def test_auxiliary_maps_come_back_as_logits_do() -> None:
    model = through(transformer(3, [0.3, 0.0, 0.2], "rotation"), Blurring(3))

    output = model(blob(12, 16, 14))

    torch.testing.assert_close(output.auxiliary["again"][0], output.logits, rtol=0, atol=0)


def test_a_quarter_turn_is_a_turn_in_voxels() -> None:
    module = transformer(2, [QUARTER], "rotation")
    x = torch.rand(1, 1, 9, 9)

    y = module(x)

    torch.testing.assert_close(y, x.rot90(1, (2, 3)), rtol=1e-4, atol=1e-5)


def test_a_turn_does_not_shear_what_is_longer_than_wide() -> None:
    module = transformer(2, [QUARTER], "rotation")
    x = torch.zeros(1, 1, 9, 21)
    x[..., 2:7, 8:13] = torch.rand(5, 5)

    torch.testing.assert_close(
        module(x)[..., 2:7, 8:13], x[..., 2:7, 8:13].rot90(1, (2, 3)), rtol=1e-4, atol=1e-5
    )


def test_a_shift_of_a_whole_voxel_moves_by_one_voxel() -> None:
    module = transformer(3, [2 / 8, 0.0, 0.0], "translation")  # x comes first
    x = torch.rand(1, 1, 4, 6, 8)

    torch.testing.assert_close(module(x)[..., :-1], x[..., 1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_whatever_is_predicted_can_be_inverted(dims: int) -> None:
    x = torch.rand(4, 1, *(6, 7, 8)[:dims])
    for mode in MODES:
        build: Any = ATTENTION["stn"]
        module = build(1, dims=dims, mode=mode)
        nn.init.normal_(module.out.weight, std=100)
        nn.init.normal_(module.out.bias, std=100)

        theta = module._transform(x)

        assert torch.linalg.det(theta[:, :, :-1]).min() > 0.05**dims
        _, back = module.there_and_back(x)
        assert back(x, LayerGrid()).isfinite().all()


def test_a_transform_is_learned_from_what_the_network_labels() -> None:
    model = build_model(ModelConfig(attention="stn"))
    nn.init.normal_(model.entrance.module.out.weight, std=0.01)
    x = torch.rand(2, 1, 8, 12, 16)

    output = model(x)
    model.auxiliary_loss(output, (x[:, 0] > 0.5).long(), F.cross_entropy).backward()

    for weight in model.entrance.parameters():
        assert weight.grad.abs().max() > 0


@pytest.mark.parametrize("name", sorted(set(BACKBONES)))
def test_every_backbone_can_be_transformed_and_labels_in_place(name: str) -> None:
    dims = BACKBONES[name].dims[0]
    config = ModelConfig(name, "stn", dims=dims, attention_options={"mode": "translation"})
    model = build_model(config).eval()
    plain = build_model(config.replace(attention="none", attention_options={})).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if ".module." not in k})
    voxels = max(4, model.size_multiple[2])
    size: Size = (8, 8, 8 * voxels)
    x = torch.zeros(1, 1, *size)  # what is moved in at the border is like what is there
    x[..., 2:6, 2:6, 3 * voxels : 5 * voxels] = torch.rand(4, 4, 2 * voxels)
    model.entrance.module.out.bias.data[0] = 2 * voxels / padded(model, size)

    with torch.no_grad():
        shifted = plain(torch.roll(x, -voxels, dims=4))
        found = model(x)

    expected = torch.roll(shifted, voxels, dims=4)
    torch.testing.assert_close(found[..., voxels:], expected[..., voxels:], rtol=1e-3, atol=1e-3)


def padded(model: SegmentationModel, size: Size) -> int:
    multiple, margin = model.size_multiple[2], model.context_margin[2]
    whole = size[2] + 2 * margin
    return whole + -whole % multiple


@pytest.mark.parametrize("layer", ["encoder0", "bottleneck"])
@pytest.mark.parametrize("dims", [2, 3])
def test_an_explanation_lies_where_the_image_has_what_is_explained(dims: int, layer: str) -> None:
    module = transformer(dims, [0.3] if dims == 2 else [0.0, 0.0, 0.3], "rotation")
    model = through(module, Blurring(dims)).eval()
    x = blob(24, 32, 28)
    with model.moves() as moves, torch.no_grad():
        model(x)
        activations = model.layer(layer)(model.entrance(model.fold(x))[0])
    plain = model.unfold(model.layer(layer)(model.fold(x)), 1)

    back = model.unfold(moves[0](activations, model.layers[layer].grid), 1)

    inner = (slice(None), slice(None), *[slice(4, -4)] * 3)
    torch.testing.assert_close(back[inner], plain[inner], rtol=0.05, atol=0.03)
    assert (model.unfold(activations, 1) - plain).abs().max() > 0.1


def test_a_class_activation_map_follows_the_image() -> None:
    voxels = 4
    module = transformer(3, [2 * voxels / 28, 0.0, 0.0], "translation")
    model = through(module, Blurring(3)).eval()
    x, mask = blob(24, 32, 28), torch.ones(24, 32, 28, dtype=torch.bool)

    made = explain_tensor(model, x, mask, class_index=0, method="hires-cam", layer="encoder0")

    def peak(one: Tensor) -> int:
        return int(one.sum(dim=(0, 1, 2, 3)).argmax())

    assert peak(made) == peak(x)
    with torch.no_grad():
        assert abs(peak(model.entrance(x)[0]) - peak(x)) == voxels


@pytest.mark.parametrize("dims", [2, 3])
def test_the_transform_is_recorded(dims: int) -> None:
    model = build_model(ModelConfig(attention="stn", dims=dims)).eval()
    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(2, 1, 4, 8, 12))

    (one,) = recorded
    assert one.name == "input.stn.transform"
    eye = torch.eye(dims, dims + 1)
    torch.testing.assert_close(one.numbers(), eye.expand(2, -1, -1))
