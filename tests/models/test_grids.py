from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, SegmentationModel, build_model
from napari_attnseg.models.attention import AttentionModule

ANISOTROPIC = {
    "widths": (2, 3, 2),
    "strides": ((1, 1, 1), (1, 2, 2), (2, 3, 1)),
    "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
}
NETWORKS = [
    (ModelConfig("unet3d", "se", dims=3), (41, 45, 43)),
    (ModelConfig("unet3d", "gate", dims=3, preset="light", options={"widths": (2, 2, 2)}),
     (43, 47, 41)),
    (ModelConfig("unet3d", "cbam", dims=3, preset="plan", options=ANISOTROPIC), (29, 65, 47)),
    (ModelConfig("unet2d", "pe", dims=2, options={"widths": (2, 2, 2, 2)}), (3, 91, 87)),
    (ModelConfig("unet2d", "cbam", ("encoder", "head"), 2, preset="kaggle",
                 options={"widths": (2, 2, 2), "encoder_site": "pooled"}), (2, 43, 45)),
]  # fmt: skip


def linearised(model: SegmentationModel) -> SegmentationModel:
    """Turn a network into sums and means of its input, of which positions can be read."""
    for name, module in list(model.named_modules()):
        swap = linear_part(module)
        if swap is not None:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, swap)
    for weight in model.parameters():
        nn.init.ones_(weight)
    return model.double().eval()


def linear_part(module: Any) -> nn.Module | None:
    if isinstance(module, nn.MaxPool3d):
        return nn.AvgPool3d(module.kernel_size, module.stride)
    if isinstance(module, nn.MaxPool2d):
        return nn.AvgPool2d(module.kernel_size, module.stride)
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
    return nn.Identity() if isinstance(module, (*norms, AttentionModule)) else None


def footprint(model: SegmentationModel, layer: str, size: Size) -> tuple[Tensor, Tensor]:
    """Return a voxel in the middle of a layer, and how much each input voxel moves it."""
    x = torch.rand(1, model.config.in_channels, *size, dtype=torch.float64, requires_grad=True)
    seen: list[Tensor] = []
    hook = model.layer(layer).register_forward_hook(lambda *args: seen.append(args[-1]))
    model(x)
    hook.remove()
    output = model.unfold(seen[0], 1)
    voxel = torch.tensor(output.shape[2:]) // 2
    d, h, w = voxel.tolist()
    (gradient,) = torch.autograd.grad(output[0, :, d, h, w].sum(), x)
    return voxel, gradient.sum(dim=(0, 1)).abs()


def levels(config: ModelConfig) -> list[str]:
    names = build_model(config).layer_names
    return [name for name in names if not name.startswith("decoder")]


CASES = [(config, size, layer) for config, size in NETWORKS for layer in levels(config)]


@pytest.mark.parametrize(("config", "size", "layer"), CASES)
def test_an_encoder_voxel_lies_where_its_grid_says(
    config: ModelConfig, size: Size, layer: str
) -> None:
    model = linearised(build_model(config))
    grid = model.layer_grid(layer, size)

    voxel, weights = footprint(model, layer, size)

    for axis in range(3):
        others = [one for one in range(3) if one != axis]
        profile = weights.sum(dim=others)
        centroid = (profile * torch.arange(size[axis])).sum() / profile.sum()
        expected = grid.offset_dhw[axis] + grid.stride_dhw[axis] * voxel[axis]
        assert abs(centroid - expected) < 1e-3
        assert (profile > 0).sum() == grid.field_dhw[axis]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_decoder_level_lies_on_the_grid_of_its_encoder_level(dims: int) -> None:
    model = build_model(ModelConfig("unet3d", dims=dims))

    for level in range(2):
        encoder = model.layer_grid(f"encoder{level}", (9, 11, 13))
        decoder = model.layer_grid(f"decoder{level}", (9, 11, 13))
        assert decoder.stride_dhw == encoder.stride_dhw
        assert decoder.offset_dhw == encoder.offset_dhw


@pytest.mark.parametrize("layer", ["decoder1", "decoder0"])
def test_a_decoder_voxel_sees_as_far_as_its_grid_says(layer: str) -> None:
    size = (63, 67, 65)
    model = linearised(build_model(ModelConfig("unet3d", options={"widths": (2, 2, 2)})))
    grid = model.layer_grid(layer, size)

    _, weights = footprint(model, layer, size)

    reach = [int((weights.sum(dim=[b for b in range(3) if b != a]) > 0).sum()) for a in range(3)]
    for seen, most in zip(reach, grid.field_dhw, strict=True):
        assert most - 4 <= seen <= most


def test_an_unknown_layer_is_refused_with_the_names_there_are() -> None:
    model = build_model(ModelConfig())

    with pytest.raises(ModelError, match="encoder0, encoder1, bottleneck, decoder1, decoder0"):
        model.layer_grid("logits", (8, 8, 8))
