"""Load the weights of two public systems that first compared attention modules.

- AttentionBased-MIS (Puzzled-Hui): ``unet3d``, ``cSEunet3d``, ``PEunet3d``, ``csSEunet3d``,
  ``scSEunet3d``, ``agscSEunet3d`` without gates, ``vnet`` and ``cSEvnet``, in the layer order
  ``cpi``, into the networks ``light`` 3D U-Net and V-Net, "AnatomyNet (cSE)", "PENet", "csA-Net",
  "scA-Net" and "PANet" with ``depth`` and reductions as they were trained.
- Attention_Based_U-Nets (TYTTYTTYT): ``UNet``, ``SE_UNet``, ``Full_SE_UNet`` and ``CBAM_UNet``,
  into the ``kaggle`` 2D U-Net and the networks of the same names.

Their files name weights otherwise, keep one pair of matrices for each channel where there is one
tensor for all here, and join maps in another order; all of that is seen to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from napari_attnseg.models.contract import ModelError, SegmentationModel
from napari_attnseg.models.pretrained import PretrainedReport, read_weights

Weights = dict[str, Tensor]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]

AFTER_A_JOIN = (
    (r"stages\.decoder\d\.block\.0\.conv\.weight", 1),
    (r"joins\.\d\.concat\.module\.squeeze\.weight", 1),
    (r"joins\.\d\.concat\.module\.excite\.weight", 0),
)
"""Weights whose axis counts joined channels."""

SYSTEMS = "AttentionBased-MIS or Attention_Based_U-Nets"


def is_reference(names: Iterable[str]) -> bool:
    """Return whether names of weights are those of one of the systems."""
    return _rules_for(set(names)) is not None


def load_reference(model: SegmentationModel, path: str | Path) -> PretrainedReport:
    """Give a network the weights in a file of one of the systems.

    Args:
        model: Its weights are changed in place, all or none.
        path: A safetensors file, or a state dict that torch saved, of which only tensors are read.

    Raises:
        ModelError: If the file cannot be read, or its weights are not those of this network.
    """
    path = Path(path)
    found = {name.removeprefix("module."): one for name, one in read_weights(path).items()}
    rules = _rules_for(set(found))
    if rules is None:
        raise ModelError(
            f"{path.name} is not of {SYSTEMS}: no weight has a name such as theirs. Give a file "
            "that one of them saved."
        )
    translated = _translated(_stacked(found), rules, set(model.state_dict()))
    if rules is KAGGLE:
        translated = _joined_as_here(translated)
    _refuse_others(path, translated, model)
    model.load_state_dict(translated, strict=False)
    return PretrainedReport(loaded=tuple(translated), missing=(), unused=())


def _refuse_others(path: Path, translated: Weights, model: SegmentationModel) -> None:
    own = model.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = sorted(set(own) - set(translated) - counters)
    strange = sorted(set(translated) - set(own))
    if missing or strange:
        what = f"it lacks {missing[0]}" if missing else f"there is no place for {strange[0]}"
        raise ModelError(
            f"{path.name} is of another network than this one: {what}. Choose the network that "
            "it was trained as, such as --network PANet."
        )
    for name, weights in translated.items():
        if weights.shape != own[name].shape:
            raise ModelError(
                f"{path.name} is of a network of another size: {name} is "
                f"{_size(weights)} there and {_size(own[name])} here. Choose the same channels, "
                "classes, widths, depth and reductions."
            )


def _rules_for(names: set[str]) -> list[Rule] | None:
    if "EncoderLayer1.basic_module.Conv1.conv.weight" in names:
        return LIGHT_UNET
    if "Encoder_layer1.conv_layer.convblock.0.weight" in names:
        return LIGHT_VNET
    return KAGGLE if {"encoder1.conv1.weight", "upconv1.weight"} <= names else None


def _translated(found: Mapping[str, Tensor], rules: list[Rule], own: set[str]) -> Weights:
    """Return weights by our names; names that no rule knows stay, and are refused later."""
    translated: Weights = {}
    for name, weights in found.items():
        if name.endswith("num_batches_tracked"):
            continue
        ours = name
        for pattern, replacement in rules:
            ours = re.sub(pattern, replacement, ours)
        if "convblock." in ours:
            ours = _in_residual_block(ours, found, name)
        translated[_beside_slices(ours, own)] = weights
    return translated


def _beside_slices(name: str, own: set[str]) -> str:
    """Return the name of channel weights where slices are weighed too."""
    longer = name.replace("attention.module.", "attention.module.channels.")
    return longer if name not in own and longer in own else name


def _in_residual_block(ours: str, found: Mapping[str, Tensor], name: str) -> str:
    """Return the name of a weight of a V-Net's block: convolution, PReLU and norm in turns.

    Its last convolution has no PReLU of its own, so its norm follows at once.
    """
    prefix, _, rest = name.partition("convblock.")
    position, _, kind = rest.partition(".")
    numbers = (one.removeprefix(f"{prefix}convblock.") for one in found if one.startswith(prefix))
    last = max(int(one.partition(".")[0]) for one in numbers if one[:1].isdigit()) - 1
    at = int(position)
    stage = ours.partition("convblock.")[0]
    if at >= last:
        return f"{stage}{'last' if at == last else 'norm'}.{kind}"
    return f"{stage}convs.{at // 3}.{('conv', 'act', 'norm')[at % 3]}.{kind}"


def _stacked(found: Mapping[str, Tensor]) -> Weights:
    """Return weights with those of slices, which files keep channel by channel, as one each."""
    whole: Weights = {}
    rows: dict[str, dict[int, Tensor]] = {}
    for name, weights in found.items():
        match = re.fullmatch(r"(.*sSE)\.Slice_SE_encoder\.(\d+)\.(fc\..*)", name)
        if match is None:
            whole[name] = weights
        else:
            rows.setdefault(f"{match[1]}.{match[3]}", {})[int(match[2])] = weights
    stacked = {name: torch.stack([one[c] for c in sorted(one)]) for name, one in rows.items()}
    return whole | stacked


def _joined_as_here(translated: Weights) -> Weights:
    """Return weights of layers after a join: there the skip comes last, here it comes first."""
    swapped = dict(translated)
    for name, weights in translated.items():
        for pattern, axis in AFTER_A_JOIN:
            if re.fullmatch(pattern, name):
                swapped[name] = torch.cat(weights.chunk(2, dim=axis)[::-1], dim=axis)
    return swapped


def _size(weights: Tensor) -> str:
    return " x ".join(map(str, weights.shape)) or "a number"


def _level(match: re.Match[str]) -> int:
    return int(match[1]) - 1


def _encoder(match: re.Match[str], deepest: int = 3) -> str:
    level = _level(match)
    return "stages.bottleneck" if level == deepest else f"stages.encoder{level}"


SQUEEZE_EXCITE: list[Rule] = [(r"\.fc\.0\.", ".squeeze."), (r"\.fc\.2\.", ".excite.")]

LIGHT_UNET: list[Rule] = [
    (r"^EncoderLayer(\d)", _encoder),
    (r"^DecoderLayer(\d)", lambda match: f"stages.decoder{2 - _level(match)}"),
    (r"basic_module\.Conv1\.", "block.0."),
    (r"basic_module\.Conv2\.", "block.1."),
    (r"pReLU", "act"),
    (r"instancenorm", "norm"),
    (r"^final_conv", "head"),
    (r"pe_layer\.conv_c\.", "attention.module.squeeze."),
    (r"pe_layer\.conv_cT\.", "attention.module.excite."),
    (r"pe_layer\.relu\.", "attention.module.act."),
    (r"(?:en|de)coder_sSE\.fc\.0\.weight", "attention.module.slices.squeeze"),
    (r"(?:en|de)coder_sSE\.fc\.0\.bias", "attention.module.slices.squeeze_bias"),
    (r"(?:en|de)coder_sSE\.fc\.2\.weight", "attention.module.slices.excite"),
    (r"(?:en|de)coder_sSE\.fc\.2\.bias", "attention.module.slices.excite_bias"),
    (r"(?:en|de)coder_cSE", "attention.module"),
    *SQUEEZE_EXCITE,
]

LIGHT_VNET: list[Rule] = [
    (r"^Encoder_layer(\d)\.downsample_layer", lambda match: f"downs.{_level(match) + 1}"),
    (r"^Encoder_layer(\d)\.(?:conv_layer\.)?", lambda match: f"stages.encoder{_level(match)}."),
    (r"^Decoder_layer(\d)\.upsample_layer", lambda match: f"ups.{3 - _level(match)}"),
    (r"^Decoder_layer(\d)\.(?:conv_layer\.)?", lambda m: f"stages.decoder{3 - _level(m)}."),
    (r"^Bottleneck_layer\.conv\.", "stages.bottleneck.last."),
    (r"^Bottleneck_layer\.", "stages.bottleneck."),
    (r"^Bottleneck_cSE", "stages.bottleneck.cSE"),
    (r"final_nolinear_activation", "act"),
    (r"convtranspose3d", "conv"),
    (r"pReLU", "act"),
    (r"instancenorm", "norm"),
    (r"^final_conv", "head"),
    (r"cSE", "attention.module"),
    *SQUEEZE_EXCITE,
]

KAGGLE: list[Rule] = [
    (r"^encoder(\d)", lambda match: f"stages.encoder{_level(match)}"),
    (r"^bottleneck", "stages.bottleneck"),
    (r"^decoder(\d)", lambda match: f"stages.decoder{_level(match)}"),
    (r"^upconv(\d)", lambda match: f"joins.{_level(match)}.up"),
    (r"\.conv([12])\.", lambda match: f".block.{_level(match)}.conv."),
    (r"\.bn([12])\.", lambda match: f".block.{_level(match)}.norm."),
    (r"^conv\.", "head."),
    (r"^se\.excitation", "head_attention.module"),
    (r"^se(\d)\1\.excitation", lambda match: f"downs.{_level(match)}.1.module"),
    (r"^se(\d)\.excitation", lambda match: f"joins.{_level(match)}.concat.module"),
    (r"module\.0\.", "module.squeeze."),
    (r"module\.2\.", "module.excite."),
    # The deepest skip is attended in the encoder, because the bottleneck sees it too.
    (r"^se4\.(?=ChannelGate|SpatialGate)", "stages.encoder3.attention.module."),
    (r"^se(\d)\.(?=ChannelGate|SpatialGate)", lambda m: f"joins.{_level(m)}.skip.module."),
    (r"ChannelGate\.mlp\.1", "squeeze"),
    (r"ChannelGate\.mlp\.3", "excite"),
    (r"SpatialGate\.spatial\.conv", "conv"),
    (r"SpatialGate\.spatial\.bn", "norm"),
]
