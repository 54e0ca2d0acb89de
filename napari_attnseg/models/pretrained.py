"""Start an encoder with weights that were learned on ImageNet, from a file that a person has.

Files are those of torchvision for ResNet, ResNeXt, VGG and DenseNet, and of timm for ResNeSt and
Xception; nothing is downloaded. What classifies images is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_attnseg.models.contract import ModelError, SegmentationModel
from napari_attnseg.models.encoders import Published

NESTED = ("state_dict", "model", "model_state", "net")
"""Keys under which training scripts put weights."""

OPTIONAL = ("num_batches_tracked", "classifier.")
"""Parts of names that a file need not have: counters, and layers of VGG that some files drop."""

SOURCES = (
    "torchvision's resnet50, resnet101, resnext101_32x8d, vgg16 or densenet161, or timm's "
    "resnest50d or xception65"
)


@dataclass(frozen=True)
class PretrainedReport:
    """What was taken from a file.

    Args:
        loaded: Names in the network of what was loaded.
        missing: Names in published files of what an encoder could have, but the file has not.
        unused: Names in the file that the network has no use for.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def load_pretrained(model: SegmentationModel, path: str | Path) -> PretrainedReport:
    """Give a network's encoder the weights in a file.

    Images of one or more channels get the sum of the weights of red, green and blue, shared
    evenly among them, so that an image in every channel answers as a grey one did; three channels
    keep the colours' own. In the H-DenseUNet the colours stand for a slice and its neighbours.

    Args:
        model: Its weights are changed in place, all or none.
        path: A safetensors file, or one that torch saved, of which only tensors are read.

    Raises:
        ModelError: If the file cannot be read or is of another network.
    """
    path = Path(path)
    wanted = _wanted(model)
    if not wanted:
        raise ModelError(
            "This network has no encoder in 2 dimensions for which there are published weights; "
            "choose a DeepLabV3+, FCN, H-DenseUNet, guided or ResNet U-Net, and dims 2."
        )
    found = _renamed(read_weights(path))
    fitting = {
        name: _fitted(found[name], target.shape)
        for name, (_, target) in wanted.items()
        if name in found
    }
    _refuse_others(path, wanted, fitting)
    with torch.no_grad():
        for name, weights in fitting.items():
            if weights is not None:
                wanted[name][1].copy_(weights)
    return PretrainedReport(
        loaded=tuple(wanted[name][0] for name in fitting),
        missing=tuple(name for name in wanted if name not in fitting),
        unused=tuple(name for name in found if name not in fitting),
    )


def _wanted(model: SegmentationModel) -> dict[str, tuple[str, Tensor]]:
    """Return by published name the model's name and tensor of what weights of images suit."""
    wanted: dict[str, tuple[str, Tensor]] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, Published) and _is_flat(module):
            for name, tensor in module.state_dict(keep_vars=True).items():
                wanted.setdefault(name, (f"{prefix}.{name}", tensor))
    return wanted


def _is_flat(module: nn.Module) -> bool:
    """Return whether convolutions see one slice, or as in a stem, one with its neighbours."""
    convs = (one for one in module.modules() if isinstance(one, nn.Conv3d))
    return all(one.kernel_size[0] == 1 or one.padding[0] == 0 for one in convs)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a file by name, from under the key that training scripts use.

    Raises:
        ModelError: If it cannot be read, or not without running what it holds.
    """
    try:
        if path.suffix == ".safetensors":
            values: Any = load_file(path)
        else:
            # Only tensors and plain containers: a file of foreign origin may not run code.
            values = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path} cannot be opened: {error.strerror or error}.") from error
    except (SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(
            f"{path.name} is not a file of weights that can be read safely; give a "
            ".safetensors file, or a state dict that torch saved."
        ) from error
    for key in NESTED:
        if isinstance(values, Mapping) and isinstance(values.get(key), Mapping):
            values = values[key]
    tensors = values.items() if isinstance(values, Mapping) else ()
    found = {str(name): one for name, one in tensors if isinstance(one, Tensor)}
    if not found:
        raise ModelError(f"{path.name} holds no weights; give a state dict that torch saved.")
    return found


def _renamed(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without the prefix of parallel training and with today's names."""
    names = {name: name.removeprefix("module.") for name in found}
    # Old files of DenseNets count layers after a dot: denselayer1.norm.1
    dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
    return {dotted.sub(r"\1\2", names[name]): one for name, one in found.items()}


def _fitted(weights: Tensor, shape: torch.Size) -> Tensor | None:
    """Return weights in a network's shape, or None if they are of another."""
    if weights.shape == shape:
        return weights
    is_dense = weights.ndim == 2 and len(shape) == 4
    if weights.numel() == shape.numel() and (is_dense or _is_slice(weights, shape)):
        return weights.reshape(shape)
    is_stem = weights.ndim == 4 and weights.shape[1] == 3 and weights.shape[0] == shape[0]
    if not is_stem:
        return None
    channels = shape[1]
    if len(shape) == 5 and shape[2:] == weights.shape[1:]:
        return weights[:, None].expand(shape) / channels  # colours become neighbours
    grey = weights.sum(dim=1, keepdim=True) / channels  # (out, 1, k, k)
    if len(shape) == 5 and shape[2] == 1:
        grey = grey[:, :, None]
    return grey.expand(shape) if grey.shape[2:] == shape[2:] else None


def _is_slice(weights: Tensor, shape: torch.Size) -> bool:
    flat = (*shape[:2], *shape[3:])
    return len(shape) == 5 and shape[2] == 1 and tuple(weights.shape) == flat


def _refuse_others(
    path: Path,
    wanted: Mapping[str, tuple[str, Tensor]],
    fitting: Mapping[str, Tensor | None],
) -> None:
    needed = [name for name in wanted if not any(part in name for part in OPTIONAL)]
    absent = [name for name in needed if name not in fitting]
    if absent:
        raise ModelError(
            f"{path.name} is not of this network's encoder: it lacks {len(absent)} of "
            f"{len(needed)} tensors, such as {absent[0]}; give those of {SOURCES}."
        )
    other = next((name for name, one in fitting.items() if one is None), None)
    if other:
        raise ModelError(
            f"{path.name} is of a network of another size: {other} does not have the shape "
            f"{tuple(wanted[other][1].shape)}; choose the preset that the weights are of."
        )
