"""State dicts named as in the two public systems, loaded into the networks that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model, network_config
from napari_attnseg.models.initial import load_initial
from napari_attnseg.models.reference_weights import load_reference

Weights = dict[str, Tensor]
DEPTH = 8
SLICES = {"depth": DEPTH, "slice_reduction": 2, "mode": "fixed"}
FEATURES = (2, 4, 8, 16, 32)


def drawn(config: ModelConfig) -> Any:
    """Return a network in evaluation whose every weight is drawn, norms included."""
    torch.manual_seed(1)
    model = build_model(config).eval()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.uniform_(*((0.5, 1.5) if name.endswith("running_var") else (-0.4, 0.4)))
    return model


def stage_names(levels: int, encoder: str, decoder: str) -> dict[str, str]:
    """Return the names of blocks there by the names here; the deepest is an encoder there."""
    names = {f"stages.encoder{level}": f"{encoder}{level + 1}" for level in range(levels - 1)}
    names |= {
        f"stages.decoder{level}": f"{decoder}{levels - 1 - level}" for level in range(levels)
    }
    return names | {"stages.bottleneck": f"{encoder}{levels}"}


def as_light_unet(own: Weights) -> Weights:
    """Return weights of a light 3D U-Net as AttentionBased-MIS names them."""
    saved: Weights = {"final_conv.weight": own["head.weight"], "final_conv.bias": own["head.bias"]}
    names = stage_names(4, "EncoderLayer", "DecoderLayer")
    for stage, there in names.items():
        side = "encoder" if there.startswith("Enc") else "decoder"
        for index in (0, 1):
            block = f"{there}.basic_module.Conv{index + 1}"
            for ours, theirs in (("conv", "conv"), ("act", "pReLU"), ("norm", "instancenorm")):
                for kind in ("weight", "bias"):
                    name = f"{stage}.block.{index}.{ours}.{kind}"
                    if name in own:
                        saved[f"{block}.{theirs}.{kind}"] = own[name]
        saved |= attention_of(own, f"{stage}.attention.module", f"{there}", side)
    return saved


def attention_of(own: Weights, ours: str, there: str, side: str) -> Weights:  # noqa: C901
    saved: Weights = {}
    if f"{ours}.act.weight" in own:
        pairs = (("squeeze", "conv_c"), ("excite", "conv_cT"), ("act", "relu"))
        for here, theirs in pairs:
            for kind in ("weight", "bias"):
                if f"{ours}.{here}.{kind}" in own:
                    saved[f"{there}.pe_layer.{theirs}.{kind}"] = own[f"{ours}.{here}.{kind}"]
        return saved
    channels = f"{ours}.channels" if f"{ours}.channels.squeeze.weight" in own else ours
    for here, index in (("squeeze", 0), ("excite", 2)):
        for kind in ("weight", "bias"):
            if f"{channels}.{here}.{kind}" in own:
                name = f"{there}.{side}_cSE.fc.{index}.{kind}"
                saved[name] = own[f"{channels}.{here}.{kind}"]
        rows = own.get(f"{ours}.slices.{here}")
        for channel in range(0 if rows is None else len(rows)):
            one = f"{there}.{side}_sSE.Slice_SE_encoder.{channel}.fc.{index}"
            saved[f"{one}.weight"] = own[f"{ours}.slices.{here}"][channel].clone()
            saved[f"{one}.bias"] = own[f"{ours}.slices.{here}_bias"][channel].clone()
    return saved


def as_light_vnet(own: Weights) -> Weights:  # noqa: C901
    """Return weights of a light V-Net as AttentionBased-MIS names them."""
    saved: Weights = {"final_conv.weight": own["head.weight"], "final_conv.bias": own["head.bias"]}
    convs = {"encoder": (1, 2, 3, 3), "decoder": (1, 2, 3, 3)}
    words = {"conv": "conv", "act": "pReLU", "norm": "instancenorm"}
    for level in range(4):
        for side, there in (("encoder", f"Encoder_layer{level + 1}"),
                            ("decoder", f"Decoder_layer{4 - level}")):  # fmt: skip
            stage, block = f"stages.{side}{level}", f"{there}.conv_layer.convblock"
            last = convs[side][level] - 1
            for kind in ("weight", "bias"):
                for index in range(last):
                    for at, part in enumerate(("conv", "act", "norm")):
                        name = f"{stage}.convs.{index}.{part}.{kind}"
                        if name in own:
                            saved[f"{block}.{3 * index + at}.{kind}"] = own[name]
                saved[f"{block}.{3 * last}.{kind}"] = own[f"{stage}.last.{kind}"]
                saved[f"{block}.{3 * last + 1}.{kind}"] = own[f"{stage}.norm.{kind}"]
            saved[f"{there}.conv_layer.final_nolinear_activation.weight"] = own[
                f"{stage}.act.weight"
            ]
            saved |= {
                name.replace(f"{side}_cSE", "cSE"): one
                for name, one in attention_of(
                    own, f"{stage}.attention.module", there, side
                ).items()
            }
            ours = f"downs.{level + 1}" if side == "encoder" else f"ups.{level}"
            layer = "downsample_layer" if side == "encoder" else "upsample_layer"
            up = {**words, "conv": "conv" if side == "encoder" else "convtranspose3d"}
            for part, word in up.items():
                for kind in ("weight", "bias"):
                    if f"{ours}.{part}.{kind}" in own:
                        saved[f"{there}.{layer}.{word}.{kind}"] = own[f"{ours}.{part}.{kind}"]
    for part, word in {"last": "conv", "act": "pReLU", "norm": "instancenorm"}.items():
        for kind in ("weight", "bias"):
            if f"stages.bottleneck.{part}.{kind}" in own:
                name = f"Bottleneck_layer.{word}.{kind}"
                saved[name] = own[f"stages.bottleneck.{part}.{kind}"]
    deepest = attention_of(own, "stages.bottleneck.attention.module", "Bottleneck", "x")
    return saved | {name.replace(".x_cSE", "_cSE"): one for name, one in deepest.items()}


def with_slices(name: str) -> ModelConfig:
    config = network_config(name)
    return config.replace(attention_options={**config.attention_options, **SLICES})


LIGHT = {
    "unet3d": (ModelConfig("unet3d", preset="light", out_channels=11), as_light_unet),
    "cSEunet3d": (network_config("AnatomyNet (cSE)"), as_light_unet),
    "PEunet3d": (network_config("PENet"), as_light_unet),
    "csSEunet3d": (with_slices("csA-Net"), as_light_unet),
    "scSEunet3d": (with_slices("scA-Net"), as_light_unet),
    "agscSEunet3d": (with_slices("PANet"), as_light_unet),
    "vnet": (ModelConfig("vnet", preset="light", out_channels=11), as_light_vnet),
    "cSEvnet": (network_config("cSE-VNet"), as_light_vnet),
}


@pytest.mark.parametrize("name", LIGHT)
def test_weights_of_attention_based_mis_find_their_places(name: str, tmp_path: Path) -> None:
    config, saved_as = LIGHT[name]
    model = drawn(config)
    torch.save(saved_as(model.state_dict()), tmp_path / "latest.pth")
    again = build_model(config).eval()

    load_reference(again, tmp_path / "latest.pth")

    for key, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=0, atol=0, msg=key)


def kaggle_shapes(attention: str) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a U-Net of Attention_Based_U-Nets."""
    shapes: dict[str, tuple[int, ...]] = {"conv.weight": (1, 2, 1, 1), "conv.bias": (1,)}
    for level in range(4):
        width, deeper = FEATURES[level], FEATURES[level + 1]
        before = 3 if level == 0 else FEATURES[level - 1]
        shapes |= coder(f"encoder{level + 1}", before, width)
        shapes |= coder(f"decoder{level + 1}", 2 * width, width)
        shapes[f"upconv{level + 1}.weight"] = (deeper, width, 2, 2)
        shapes[f"upconv{level + 1}.bias"] = (width,)
        if attention == "se":
            shapes |= excitation(f"se{level + 1}", 2 * width)
            shapes |= excitation(f"se{level + 1}{level + 1}", width)
        if attention == "cbam":
            shapes |= cbam(f"se{level + 1}", width)
    if attention == "se":
        shapes |= excitation("se", FEATURES[0])
    return shapes | coder("bottleneck", FEATURES[3], FEATURES[4])


def coder(name: str, channels: int, out: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, width in ((1, channels), (2, out)):
        shapes[f"{name}.conv{index}.weight"] = (out, width, 3, 3)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn{index}.{part}"] = (out,)
    return shapes


def excitation(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    hidden = max(1, channels // 16)
    return {
        f"{name}.excitation.0.weight": (hidden, channels),
        f"{name}.excitation.2.weight": (channels, hidden),
    }


def cbam(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    hidden = max(1, channels // 16)
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.ChannelGate.mlp.1.weight": (hidden, channels),
        f"{name}.ChannelGate.mlp.1.bias": (hidden,),
        f"{name}.ChannelGate.mlp.3.weight": (channels, hidden),
        f"{name}.ChannelGate.mlp.3.bias": (channels,),
        f"{name}.SpatialGate.spatial.conv.weight": (1, 2, 7, 7),
    }
    parts = ("weight", "bias", "running_mean", "running_var")
    return shapes | {f"{name}.SpatialGate.spatial.bn.{part}": (1,) for part in parts}


def plain_kaggle(w: Weights, x: Tensor, attention: str) -> Tensor:  # noqa: C901
    """Return the logits of such a U-Net from its equations; there the skip comes last."""

    def norm(y: Tensor, name: str) -> Tensor:
        parts = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, *parts)

    def code(y: Tensor, name: str) -> Tensor:
        for index in (1, 2):
            y = F.conv2d(y, w[f"{name}.conv{index}.weight"], padding=1)
            y = F.relu(norm(y, f"{name}.bn{index}"))
        return y

    def excite(y: Tensor, name: str) -> Tensor:
        if f"{name}.excitation.0.weight" not in w:
            return y
        z = F.relu(y.mean((2, 3)) @ w[f"{name}.excitation.0.weight"].T)
        return y * torch.sigmoid(z @ w[f"{name}.excitation.2.weight"].T)[:, :, None, None]

    def gate(y: Tensor, name: str) -> Tensor:
        if attention != "cbam":
            return y
        mlp, energy = f"{name}.ChannelGate.mlp", torch.zeros(y.shape[:2])
        for z in (y.mean((2, 3)), y.amax((2, 3))):
            hidden = F.relu(F.linear(z, w[f"{mlp}.1.weight"], w[f"{mlp}.1.bias"]))
            energy = energy + F.linear(hidden, w[f"{mlp}.3.weight"], w[f"{mlp}.3.bias"])
        y = y * torch.sigmoid(energy)[:, :, None, None]
        both = torch.cat([y.amax(1, keepdim=True), y.mean(1, keepdim=True)], dim=1)
        spatial = f"{name}.SpatialGate.spatial"
        both = F.conv2d(both, w[f"{spatial}.conv.weight"], padding=3)
        return y * torch.sigmoid(norm(both, f"{spatial}.bn"))

    skips, y = [], x
    for level in range(1, 5):
        y = code(y, f"encoder{level}")
        skips.append(gate(y, f"se{level}"))
        y = excite(F.max_pool2d(skips[-1] if level == 4 else y, 2), f"se{level}{level}")
    y = code(y, "bottleneck")
    for level in (4, 3, 2, 1):
        up = F.conv_transpose2d(y, w[f"upconv{level}.weight"], w[f"upconv{level}.bias"], stride=2)
        joined = excite(torch.cat([up, skips[level - 1]], dim=1), f"se{level}")
        y = code(joined, f"decoder{level}")
    return F.conv2d(excite(y, "se"), w["conv.weight"], w["conv.bias"])


KAGGLE = {"none": "SE_UNet", "se": "Full_SE_UNet", "cbam": "CBAM_UNet"}


@pytest.mark.parametrize("attention", KAGGLE)
def test_weights_of_attention_based_unets_give_what_they_gave_there(
    attention: str, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    saved = {
        name: torch.empty(shape).uniform_(*((0.2, 0.6) if "running_var" in name else (-0.6, 0.6)))
        for name, shape in kaggle_shapes(attention).items()
    }
    save_file(saved, tmp_path / "best.safetensors")
    config = network_config(KAGGLE[attention])
    if attention == "none":
        config = config.replace(attention="none", sites=())
    model = build_model(config.replace(options={**config.options, "widths": FEATURES})).eval()
    x = torch.randn(2, 3, 16, 32)

    load_initial(model, tmp_path / "best.safetensors")

    with torch.no_grad():
        found, expected = model(x[:, :, None])[:, :, 0], plain_kaggle(saved, x, attention)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def light_file(folder: Path) -> Path:
    weights = as_light_unet(drawn(LIGHT["unet3d"][0]).state_dict())
    save_file({name: one.contiguous() for name, one in weights.items()}, folder / "w.safetensors")
    return folder / "w.safetensors"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (ModelConfig("unet3d", preset="light", out_channels=3), "of another size: head"),
        (network_config("AnatomyNet (cSE)"), "it lacks stages.*attention"),
        (ModelConfig("vnet", preset="light", out_channels=11), "another network"),
    ],
)
def test_weights_of_another_network_are_refused_and_change_nothing(
    config: ModelConfig, sentence: str, tmp_path: Path
) -> None:
    model = build_model(config)
    before = {name: one.clone() for name, one in model.state_dict().items()}

    with pytest.raises(ModelError, match=sentence):
        load_initial(model, light_file(tmp_path))

    for name, one in model.state_dict().items():
        torch.testing.assert_close(one, before[name], rtol=0, atol=0)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    model = build_model(ModelConfig("unet3d", preset="light", out_channels=11))
    torch.save(model, tmp_path / "whole.model")

    with pytest.raises(ModelError, match="be read safely"):
        load_initial(model, tmp_path / "whole.model")


def test_a_file_of_neither_system_is_refused(tmp_path: Path) -> None:
    save_file({"a.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    model = build_model(ModelConfig("unet3d", preset="light"))

    with pytest.raises(ModelError, match="no weight has a name such as theirs"):
        load_reference(model, tmp_path / "w.safetensors")
