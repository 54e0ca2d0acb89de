from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model
from napari_attnseg.models.aligned import AlignedUpsample
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.encoders import ENCODERS, EncoderShape, Step
from napari_attnseg.models.encoders.vgg import vgg
from napari_attnseg.models.levels import product

RESNET = (64, 64, 256, 512, 1024, 2048)
XCEPTION = (32, 64, 128, 256, 728, 2048)
EXIT = (1024, 1536, 2048)
PUBLISHED: dict[str, tuple[str, dict[str, Any], int]] = {
    "ResNet-50": ("resnet", {"widths": RESNET, "depths": (3, 4, 6, 3)}, 23_508_032),
    "ResNet-101": ("resnet", {"widths": RESNET, "depths": (3, 4, 23, 3)}, 42_500_160),
    "ResNet-18": (
        "resnet",
        {"widths": (64, 64, 64, 128, 256, 512), "depths": (2, 2, 2, 2), "block": "basic"},
        11_176_512,
    ),
    "ResNeXt-101 32x8d": (
        "resnet",
        {"widths": RESNET, "depths": (3, 4, 23, 3), "groups": 32, "inner": 1.0},
        86_742_336,
    ),
    "ResNeSt-50": (
        "resnest",
        {"widths": RESNET, "depths": (3, 4, 6, 3), "stem_kernel": 3},
        27_483_240 - 2_049_000,
    ),
    "Xception-65": (
        "xception",
        {"widths": XCEPTION, "depths": (1, 1, 17), "exit_widths": EXIT},
        37_867_312,
    ),
    "DenseNet-161": (
        "densenet",
        {"widths": (0, 96), "depths": (6, 12, 36, 24), "growth": 48},
        26_472_000,
    ),
}


def shape_of(**options: Any) -> EncoderShape:
    """Return an encoder of images that halves them five times, as published."""
    usual: dict[str, Any] = {
        "dims": 2,
        "in_channels": 3,
        "strides": [(1, 1, 1), *[(1, 2, 2)] * 5],
        "kernels": [(1, 3, 3)] * 6,
        "stem_kernel": 7,
        "block": "bottleneck",
    }
    return EncoderShape(**{**usual, **options})


def weights_of(steps: list[Step]) -> int:
    return sum(count_parameters(step.module) for step in steps)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_encoder_has_the_published_number_of_weights(name: str) -> None:
    kind, options, expected = PUBLISHED[name]

    with torch.device("meta"):
        steps = ENCODERS[kind](shape_of(**options))

    assert weights_of(steps) == expected


def test_the_trunk_of_one_channel_has_the_published_number_of_weights() -> None:
    _, options, _ = PUBLISHED["ResNeXt-101 32x8d"]

    with torch.device("meta"):
        steps = ENCODERS["resnet"](shape_of(**options, in_channels=1))

    assert weights_of(steps) == 86_736_064


def test_the_convolutions_of_vgg_have_the_published_number_of_weights() -> None:
    widths, depths = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)

    with torch.device("meta"):
        steps = vgg(shape_of(widths=widths, depths=depths, norm="none"))

    assert weights_of(steps) == 14_714_688


def test_strides_beyond_the_last_level_widen_kernels_instead() -> None:
    _, options, _ = PUBLISHED["ResNet-101"]
    with torch.device("meta"):
        steps = ENCODERS["resnet"](shape_of(**options, last_level=4, multi_grid=(1, 2, 4)))
    last: Any = steps[-1].module

    assert [step.level for step in steps] == [1, 2, 3, 4]
    assert [block.conv2.dilation for block in last.layer4] == [(2, 2), (4, 4), (8, 8)]
    assert {block.conv2.stride for block in last.layer4} == {(1, 1)}
    assert {block.conv2.dilation for block in last.layer3} == {(1, 1)}


def test_an_xception_cut_at_a_stride_of_8_widens_what_comes_after_as_published() -> None:
    _, options, _ = PUBLISHED["Xception-65"]
    with torch.device("meta"):
        steps = ENCODERS["xception"](shape_of(**options, last_level=3))
    modules: Any = steps[-1].module.blocks

    dilations = [getattr(modules, f"{n}").stack.conv1.conv_dw.dilation[0] for n in (1, 5, 19, 20)]
    assert dilations == [1, 2, 2, 4]


ANISOTROPIC: list[Size] = [(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 3, 1), (2, 1, 2)]
FLAT_FIRST: list[Size] = [(1, 3, 3), (1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)]
SMALL: dict[str, Any] = {"widths": (4,) * 6, "depths": (1, 2, 1, 1), "stem_kernel": 5, "growth": 2}
GRIDS: list[tuple[str, dict[str, Any]]] = [
    (kind, {**SMALL, **more})
    for kind in ("resnet", "resnest", "xception", "densenet")
    for more in (
        {},
        {"dims": 3, "strides": ANISOTROPIC, "kernels": FLAT_FIRST},
        *({"last_level": 3} for _ in range(kind != "densenet")),
        *({"exit_widths": (4, 4, 4), "last_level": 4} for _ in range(kind == "xception")),
        *({"block": "basic"} for _ in range(kind == "resnet")),
    )
]


@pytest.mark.parametrize(("kind", "options"), GRIDS)
def test_a_voxel_of_every_level_lies_where_its_grid_says(
    kind: str, options: dict[str, Any]
) -> None:
    shape = shape_of(**{"depths": (1, 1, 1, 1), **options, "norm": "none"})
    if kind == "xception":
        depths = shape.depths if not shape.exit_widths else shape.depths[:-1]
        shape = shape_of(**{**options, "norm": "none", "depths": depths})
    size = tuple(5 * n for n in product(shape.strides)[3 - shape.dims :])

    x = coordinates(size, shape.in_channels)
    for step in ENCODERS[kind](shape):
        x = linearised(step.module)(x)
        centroid = x[:-1].mean(dim=1) / x[-1:].mean(dim=1)  # (axes, d, h, w)
        for axis, (stride, offset) in enumerate(on_axes(step, shape.dims)):
            line = along(centroid[axis], axis)
            expected = offset + stride * torch.arange(len(line)).double()
            middle = slice(len(line) // 3, -(len(line) // 3) or None)
            torch.testing.assert_close(line[middle], expected[middle], atol=1e-6, rtol=0)


def coordinates(size: tuple[int, ...], channels: int) -> Tensor:
    """Return an image of each axis's coordinate, and one of ones."""
    axes = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    x = torch.stack([*axes, torch.ones(size)]).double()
    return x[:, None].expand(-1, channels, *size)


def on_axes(step: Step, dims: int) -> list[tuple[float, float]]:
    pairs = list(zip(step.grid.stride_dhw, step.grid.offset_dhw, strict=True))
    return pairs[3 - dims :]


def along(tensor: Tensor, axis: int) -> Tensor:
    """Return the values on a line along an axis through the middle of the others."""
    middle: list[Any] = [n // 2 for n in tensor.shape]
    middle[axis] = slice(None)
    return tensor[tuple(middle)]


def linearised(module: nn.Module) -> nn.Module:
    """Turn layers into sums of voxels in the middle of their kernels and means of windows."""
    for one in list(module.modules()):
        for name, child in list(one.named_children()):
            if isinstance(child, (nn.MaxPool2d, nn.MaxPool3d)):
                pool: Any = nn.AvgPool2d if isinstance(child, nn.MaxPool2d) else nn.AvgPool3d
                setattr(one, name, pool(child.kernel_size, child.stride, child.padding))
            if isinstance(child, nn.ReLU):
                setattr(one, name, nn.Identity())
        if isinstance(one, (nn.Conv2d, nn.Conv3d)):
            nn.init.zeros_(one.weight)
            middle = tuple(n // 2 for n in one.kernel_size)
            nn.init.constant_(one.weight[(slice(None), slice(None), *middle)], 1.0)
            if one.bias is not None:
                nn.init.zeros_(one.bias)
    return module.double()


@pytest.mark.parametrize(
    "backbone", ["resnet-unet", "deeplab-resnet", "deeplab-xception", "guided", "hdenseunet"]
)
def test_blocks_for_more_or_fewer_levels_than_there_are_are_refused(backbone: str) -> None:
    options = {"widths": (4, 4, 4, 4, 4), "depths": (1, 1)}

    with pytest.raises(ModelError, match="give 3 positive numbers"):
        build_model(ModelConfig(backbone, options=options))


@pytest.mark.parametrize(("dims", "stride"), [(2, (1, 4, 2)), (3, (1, 2, 3)), (3, (4, 1, 2))])
def test_an_aligned_map_keeps_its_voxels_at_multiples_of_the_stride(
    dims: int, stride: Size
) -> None:
    x = torch.rand(2, 3, *(3, 5, 4)[3 - dims :])

    finer = AlignedUpsample(dims, stride)(x)

    steps = stride[3 - dims :]
    assert finer.shape[2:] == tuple(n * s for n, s in zip(x.shape[2:], steps, strict=True))
    every = (slice(None), slice(None), *(slice(None, None, step) for step in steps))
    torch.testing.assert_close(finer[every], x)


def test_an_aligned_map_is_linear_between_its_voxels_and_constant_beyond_the_last() -> None:
    x = torch.tensor([0.0, 4.0, 2.0]).reshape(1, 1, 1, 3)

    finer = AlignedUpsample(2, (1, 1, 4))(x)

    expected = [0.0, 1.0, 2.0, 3.0, 4.0, 3.5, 3.0, 2.5, 2.0, 2.0, 2.0, 2.0]
    torch.testing.assert_close(finer.flatten(), torch.tensor(expected))
