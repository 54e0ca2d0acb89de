from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.losses import LOSSES
from napari_attnseg.models import ModelError, build_model, network_config, record
from napari_attnseg.models.backbones import BACKBONES
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.sizing import multiply_adds
from napari_attnseg.training.batches import Batch
from napari_attnseg.training.learner import Learner

PRESETS = {
    ("paper", 3): 65_175_314,
    ("paper", 2): 13_275_346,
    ("released", 3): 61_982_682,
    ("light", 3): 6_883_755,
}
NETWORKS = {
    ("cSE-VNet", None): 6_890_985,
    ("csA-VNet", 144): 7_060_215,
    ("scA-VNet", 144): 7_060_215,
    ("PANet-VNet", 144): 7_060_215,
    ("PANet-VNet", 192): 7_188_151,
}
WIDTHS = [(16, 32, 64, 128), (16, 32, 64), (24, 48, 96, 192), (32, 64, 128, 256, 320, 320)]
SMALL = {"widths": (3, 4, 6), "kernel": 3}


def on_meta(config: ModelConfig) -> Any:
    with torch.device("meta"):
        return build_model(config)


@pytest.mark.parametrize(("preset", "dims"), PRESETS)
def test_a_preset_has_the_published_number_of_weights(preset: str, dims: int) -> None:
    facts = BACKBONES["vnet"].presets[preset]
    config = ModelConfig(
        "vnet",
        dims=dims,
        preset=preset,
        in_channels=facts.in_channels,
        out_channels=facts.out_channels,
    )

    assert count_parameters(on_meta(config)) == PRESETS[preset, dims]


@pytest.mark.parametrize(("name", "depth"), NETWORKS)
def test_a_light_vnet_with_attention_has_the_published_number_of_weights(
    name: str, depth: int | None
) -> None:
    config = network_config(name)
    options = {**config.attention_options, **({"depth": depth} if depth else {})}

    made = on_meta(config.replace(attention_options=options))

    assert count_parameters(made) == NETWORKS[name, depth]


@pytest.mark.parametrize("name", ["csA-VNet", "scA-VNet", "PANet-VNet"])
def test_the_bottleneck_of_a_light_vnet_weighs_only_its_channels(name: str) -> None:
    config = network_config(name, options={"widths": (2, 2, 2, 2, 4)})
    model = build_model(config).eval()

    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(1, 1, 16, 17, 18))

    kinds: dict[str, set[str]] = {one.layer: set() for one in recorded}
    for one in recorded:
        kinds[one.layer].add(one.kind)
    assert kinds.pop("bottleneck") == {"channel"}
    assert set(map(frozenset, kinds.values())) == {frozenset({"channel", "slice"})}


def plain_vnet(weights: dict[str, Tensor], x: Tensor, decoder_adds: str) -> Tensor:
    """Return logits of a V-Net of three levels, from its equations and named weights."""

    def prelu(y: Tensor, name: str) -> Tensor:
        return F.prelu(y, weights[f"{name}.weight"])

    def conv(y: Tensor, name: str, **facts: int) -> Tensor:
        return F.conv3d(y, weights[f"{name}.weight"], weights[f"{name}.bias"], **facts)

    def block(y: Tensor, residual: Tensor, name: str, convs: int) -> Tensor:
        for index in range(convs - 1):
            one = f"{name}.convs.{index}"
            y = prelu(conv(y, f"{one}.conv", padding=1), f"{one}.act")
        return prelu(conv(y, f"{name}.last", padding=1) + residual, f"{name}.act")

    def risen(y: Tensor, name: str) -> Tensor:
        up = F.conv_transpose3d(
            y, weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"], stride=2
        )
        return prelu(up, f"{name}.act")

    repeated = torch.stack([x[:, 0], x[:, 1], x[:, 0]], dim=1)
    first = block(x, repeated, "stages.encoder0", 1)
    down = prelu(conv(first, "downs.1.conv", stride=2), "downs.1.act")
    second = block(down, down, "stages.encoder1", 2)
    down = prelu(conv(second, "downs.2.conv", stride=2), "downs.2.act")
    deepest = down if decoder_adds == "joined" else torch.zeros_like(down)
    y = block(down, deepest, "stages.bottleneck", 3)
    for level, skip in ((1, second), (0, first)):
        up = risen(y, f"ups.{level}")
        joined = torch.cat([skip, up], dim=1)
        residual = joined if decoder_adds == "joined" else up
        y = block(joined, residual, f"stages.decoder{level}", level + 1)
    return conv(y, "head")


@pytest.mark.parametrize("residual", ["joined", "risen"])
def test_a_vnet_computes_what_its_paper_says(residual: str) -> None:
    torch.manual_seed(0)
    options = {**SMALL, "residual": residual}
    model = build_model(
        ModelConfig("vnet", in_channels=2, preset="paper", options=options)
    ).double()
    x = torch.randn(2, 2, 4, 8, 12, dtype=torch.float64)

    with torch.no_grad():
        expected = plain_vnet(model.state_dict(), x, residual)
        found = model.eval()(x)

    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_a_planned_vnet_costs_about_as_much_as_the_planned_unet(
    widths: tuple[int, ...], dims: int
) -> None:
    size = (1 if dims == 2 else 32, 32, 32)
    settings: dict[str, Any] = {"dims": dims, "preset": "plan", "options": {"widths": widths}}

    unet, vnet = (
        multiply_adds(on_meta(ModelConfig(name, **settings)), size) for name in ("unet3d", "vnet")
    )

    assert 0.8 < vnet / unet < 1.25


def test_a_planned_vnet_has_the_strides_and_kernels_of_the_plan() -> None:
    options = {
        "widths": (8, 16),
        "strides": ((1, 1, 1), (1, 2, 3)),
        "kernels": ((1, 3, 3), (3, 5, 1)),
    }
    model = on_meta(ModelConfig("vnet", preset="plan", options=options))

    assert model.size_multiple == (1, 2, 3)
    assert tuple(model.stages["encoder0"].last.kernel_size) == (1, 3, 3)
    assert tuple(model.stages["bottleneck"].last.kernel_size) == (3, 5, 1)


def test_multiplications_are_those_of_the_convolutions() -> None:
    config = ModelConfig("unet3d", preset="plan", options={"widths": (2, 3)})
    full, half = 4 * 6 * 8, 2 * 3 * 4
    convolutions = full * 27 * (1 * 2 + 2 * 2 + 4 * 2 + 2 * 2) + half * 27 * (2 * 3 + 3 * 3)
    up, head = full * 3 * 2, full * 2 * 2

    assert multiply_adds(on_meta(config), (4, 6, 8)) == convolutions + up + head


def test_a_vnet_without_normalisation_starts_with_logits_of_usual_size() -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig("vnet", preset="paper", options={"widths": (4, 8, 16, 32)}))
    x = torch.randn(1, 1, 16, 24, 8)

    logits = model(x).logits

    assert 0.03 < float(logits.detach().std()) < 3


@pytest.mark.parametrize("name", ["convs", "decoder_convs"])
def test_convolutions_that_do_not_fit_the_levels_are_refused(name: str) -> None:
    config = ModelConfig("vnet", options={name: (1, 2, 3, 4)})

    with pytest.raises(ModelError, match=rf"^{name} is \(1, 2, 3, 4\); give \d positive numbers"):
        build_model(config)


def learner_of(options: dict[str, Any], **train: Any) -> Learner:
    model = build_model(ModelConfig("vnet", options=options))
    settings = TrainConfig(**train)
    loss = LOSSES["dice-ce"]
    return Learner(model, loss, train=settings, is_fine_tuning=False, precision="float32")


def test_a_vnet_without_normalisation_takes_smaller_steps_unless_asked_otherwise() -> None:
    assert learner_of({"norm": "none"}).peak_rate == 1e-3
    assert learner_of({"norm": "none"}, learning_rate=3e-3).peak_rate == 3e-3
    assert learner_of({}).peak_rate > 1e-3


def test_a_vnet_without_normalisation_learns() -> None:
    torch.manual_seed(0)
    learner = learner_of({"widths": (4, 8, 8), "norm": "none"})
    image = torch.randn(1, 1, 8, 12, 16)
    image[:, :, 2:6, 3:9, 4:10] += 3
    label = torch.zeros(1, 8, 12, 16, dtype=torch.int64)
    label[:, 2:6, 3:9, 4:10] = 1

    losses = [
        learner.step(Batch(image, label), number=number, rate=learner.peak_rate).loss
        for number in range(60)
    ]

    assert losses[-1] < 0.5 * losses[0]
