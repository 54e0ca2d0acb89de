"""Encoders with the weights of torchvision's and timm's networks give the same features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import build_model
from napari_attnseg.models.pretrained import load_pretrained

TORCHVISION = {
    ("resnet-unet", "paper"): "resnet50",
    ("resnet-unet", "resnet18"): "resnet18",
    ("guided", "paper"): "resnext101_32x8d",
    ("fcn8s", "paper"): "vgg16",
    ("hdenseunet", "paper"): "densenet161",
}
TIMM = {
    ("deeplab-resnest", "paper"): ("resnest50d", {"output_level": 5}),
    ("deeplab-xception", "paper"): ("xception65", {"output_level": 5}),
    ("deeplab-resnet", "paper"): ("resnet101", {"output_level": 5}),
}


def with_statistics(network: nn.Module) -> nn.Module:
    """Give norms means, variances and weights of their own, so that a swapped one shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def loaded(backbone: str, preset: str, folder: Path, network: nn.Module, **options: Any) -> Any:
    path = folder / "weights.pth"
    torch.save(network.state_dict(), path)
    config = ModelConfig(backbone, dims=2, preset=preset, in_channels=3, options=options)
    model = build_model(config).eval()
    load_pretrained(model, path)
    return model


def features(model: Any, layer: str, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = model.layer(layer).register_forward_hook(lambda *args: found.append(args[-1]))
    with torch.no_grad():
        model(x[:, :, None])
    hook.remove()
    return found[0]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


@pytest.mark.parametrize(("backbone", "preset"), TORCHVISION)
def test_an_encoder_answers_as_that_of_torchvision(
    tmp_path: Path, backbone: str, preset: str
) -> None:
    name = TORCHVISION[backbone, preset]
    torch.manual_seed(0)
    network: Any = with_statistics(getattr(torchvision.models, name)(weights=None))
    model = loaded(backbone, preset, tmp_path, network)
    x = torch.randn(1, 3, 64, 96)

    with torch.no_grad():
        if name.startswith("res"):
            parts = list(network.children())[:-2]
            expected = nn.Sequential(*parts)(x)
        else:
            expected = network.features(x)
    if name == "vgg16":
        found = model.pools["5"](features(model, "encoder4", x))
    else:
        found = features(model, "bottleneck", x)
        expected = expected.relu()

    close(found, expected)


@pytest.mark.parametrize(("backbone", "preset"), TIMM)
def test_an_encoder_answers_as_that_of_timm(tmp_path: Path, backbone: str, preset: str) -> None:
    name, options = TIMM[backbone, preset]
    torch.manual_seed(0)
    network: Any = with_statistics(timm.create_model(name, pretrained=False))
    model = loaded(backbone, preset, tmp_path, network, **options)
    x = torch.randn(1, 3, 64, 96)

    with torch.no_grad():
        expected = network.forward_features(x)

    close(features(model, "encoder5", x), expected)
