"""Every map of every registered pair: finite, and placed where its level's voxels really lie.

A network whose norms and attention are the identity, whose pools are means and whose odd kernels
have one weight in the middle is, at every voxel of a layer, a mean of some voxels of the image.
Shown an image of voxel coordinates it answers with their centroid, which the image's affine
takes to the patient: no grid, stride, offset or padding of the program is used for that.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import (
    METHODS,
    ExplainError,
    Explanation,
    TargetSpec,
    attention_maps,
    explain,
)
from napari_attnseg.inference import Run
from napari_attnseg.models import ModelError, SegmentationModel, build_model, check_pair
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.backbones import BACKBONES
from napari_attnseg.models.channel_gate import ChannelGate
from napari_attnseg.models.densebranch import ShownAgain
from napari_attnseg.models.sites import SITES
from napari_attnseg.preprocessing import preprocess
from napari_attnseg.preprocessing.resample import resample
from napari_attnseg.volume import Grid, Volume

SIZES = ((1, 3, 5), (5, 1, 3), (3, 5, 7))
"""Voxels along D, H and W beyond what gives the deepest layer a voxel away from the border."""
BY_CHANNEL = ("ablation-cam", "score-cam")
"""Methods that run the network once for each channel of a layer."""
CHEAP: dict[str, dict[str, Any]] = {
    "occlusion": {"count": 4, "baseline": "median"},
    "integrated-gradients": {"steps": 2},
    "modality": {"steps": 2},
    "smooth-grad": {"samples": 2},
}
LARGE = ("swinunetr",)
"""Backbones that halve a volume so often that one with a voxel inside takes long in 3-D."""
STRAIGHT = np.diag([1.1, 0.9, 1.3])
OBLIQUE = np.array([[0.9, 0.3, -0.1], [-0.3, 0.95, -0.2], [0.2, 0.1, 1.1]])
STORED = ("RAS", "LPI", "SRP", "AIL", "PIR", "LSA")
NETWORK = ("RAS", "SAR", "RSA")
FACTORS = ((1.0, 1.0, 1.0), (1.0, 1.27, 0.83), (1.0, 0.9, 1.15))
"""The network's spacing along D, H and W over that of the image."""
INPUT = "input"


@dataclass(frozen=True)
class Pair:
    """A backbone with an attention module, and the case that its name's hash chooses."""

    config: ModelConfig

    def __str__(self) -> str:
        return f"{self.config.backbone}-{self.config.attention}-{self.config.dims}d"

    def choose(self, choices: Any, salt: str) -> Any:
        return choices[zlib.crc32(f"{self}{salt}".encode()) % len(choices)]

    @property
    def base(self) -> np.ndarray:
        return self.choose((STRAIGHT, OBLIQUE), "base")

    @property
    def orientation(self) -> str:
        return self.choose(NETWORK, "network")

    def image(self) -> Volume:
        """Return noise, stored in some order, with odd sizes along the axes of the network."""
        stored = self.choose(STORED, "stored")
        multiple = build_model(self.config).size_multiple
        more = self.choose(SIZES, "size")
        sizes = [enough(n) + m if n > 1 else m for n, m in zip(multiple, more, strict=True)]
        by_axis = dict(zip(map(axis_of, self.orientation[::-1]), sizes, strict=True))
        shape = [by_axis[axis_of(letter)] for letter in stored[::-1]]
        data = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
        return Volume(data, affine_of(self.base, stored))

    def plan(self) -> dict[str, Any]:
        columns = affine_of(self.base, self.orientation)[:3, :3]
        factors = self.choose(FACTORS, "factors")
        spacing = np.linalg.norm(columns, axis=0)[::-1] * factors
        patch = self.choose(((64, 64, 64), (64, 64, 64), (16, 24, 32)), "patch")
        return {
            "spacing_dhw": tuple(spacing),
            "orientation": self.orientation,
            "patch_size": patch if self.config.dims == 3 else (1, *patch[1:]),
            "dims": self.config.dims,
        }


def enough(multiple: int) -> int:
    """Return voxels of which some layer voxel sees none of the outermost two, nor padding."""
    return max(10, 3 * multiple)


def axis_of(letter: str) -> int:
    return next(axis for axis, pair in enumerate(("RL", "AP", "SI")) if letter in pair)


def affine_of(base: np.ndarray, letters: str) -> np.ndarray:
    """Return the affine of voxels whose axes i, j, k grow towards the letters' directions."""
    affine = np.eye(4)
    for column, letter in enumerate(letters):
        affine[:3, column] = base[:, axis_of(letter)] * (1 if letter in "RAS" else -1)
    affine[:3, 3] = (13.0, -27.0, 51.0)
    return affine


def is_large(backbone: str, attention: str, dims: int) -> bool:
    """Return whether a network is too large for whole volumes of three of its deepest voxels.

    Tests of its own say where its levels lie in 3 dimensions.
    """
    return backbone == "swinunetr" and (
        dims == 3 or attention not in ("none", "gate", "pam", "stn")
    )


def pairs() -> Iterator[Pair]:
    for backbone in BACKBONES:
        for attention in ATTENTION:
            for dims in (2, 3):
                if is_large(backbone, attention, dims):
                    continue
                for sites in ((), *((site,) for site in SITES)):
                    config = ModelConfig(backbone, attention, sites, dims, out_channels=3)
                    try:
                        check_pair(config)
                    except ModelError:
                        continue
                    yield Pair(config)
                    break


class Identity(AttentionModule):
    """Stands for a module in a place, one that moves images included."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x

    def there_and_back(self, x: Tensor) -> Any:
        return x, lambda tensor, *_: tensor


def linearised(config: ModelConfig) -> SegmentationModel:
    """Return a network whose layers are means of voxels of its input."""
    model = build_model(config).double().eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            setattr(parent, name, linear_part(child) or child)
    model.normalises = False  # a transformer's stages, by a function
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            set_middle(module)
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, 1 / module.in_features)
    return model


def linear_part(module: nn.Module) -> nn.Module | None:
    kind = type(module).__name__
    if "Norm" in kind and not list(module.children()):
        return nn.Identity()
    if isinstance(module, (nn.MaxPool2d, nn.MaxPool3d)):
        mean: Any = nn.AvgPool3d if isinstance(module, nn.MaxPool3d) else nn.AvgPool2d
        facts = (module.kernel_size, module.stride, module.padding, module.ceil_mode)
        return mean(*facts, count_include_pad=False)
    if isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)):
        return nn.Identity()  # the mean of a whole map has no place of its own
    if isinstance(module, ShownAgain):
        return ShownAgain(0.0)  # nor do scores that a second network is given beside the image
    is_mixing = kind == "SwinTransformerBlock"  # whatever is in its window
    if is_mixing or isinstance(module, (AttentionModule, ChannelGate)):
        return Identity()
    return None


def set_middle(module: Any) -> None:
    """Give each kernel one weight along odd axes, equal ones along even axes, and no bias."""
    taps = [slice(None) if n % 2 == 0 else slice(n // 2, n // 2 + 1) for n in module.kernel_size]
    with torch.no_grad():
        module.weight.zero_()
        module.weight[(slice(None), slice(None), *taps)] = 1.0
        module.weight /= module.weight.sum() / module.out_channels
        if module.bias is not None:
            module.bias.zero_()


def answers(pair: Pair, image: Volume, plan: Any) -> dict[str, np.ndarray]:
    """Return, by layer, what a linear network answers to an image's own coordinates.

    Each is ``(5, d, h, w)``: k, j and i of the centroid, 1, and how much of it is at the border.
    """
    k, j, i = np.indices(image.shape_dhw, dtype=np.float32)
    border = np.ones(image.shape_dhw, np.float32)
    border[tuple(slice(2, -2) if n > 9 else slice(None) for n in image.shape_dhw)] = 0
    shown = Volume(np.stack([k, j, i, np.ones_like(k), border]), image.affine)
    size = preprocess(image, plan).shape_dhw
    seen = resample(np.ascontiguousarray(shown.reoriented(plan.orientation).data), size)
    model = linearised(pair.config)
    kept: dict[str, Tensor] = {}
    for name in model.layer_names:
        model.layer(name).register_forward_hook(
            lambda *args, name=name: kept.__setitem__(name, model.unfold(args[-1], 5))
        )
    with torch.no_grad():
        # numpy calls an axis of one voxel contiguous that is stored backwards; torch does not.
        model(torch.from_numpy(seen.copy()).double()[:, None])
    means = {name: tensor.mean(dim=1).numpy() for name, tensor in kept.items()}
    means[INPUT] = seen
    means.setdefault("encoder0", seen)  # where no encoder works at full resolution
    return {name: one / one[3] for name, one in means.items()}


def some_layers(pair: Pair, model: SegmentationModel) -> list[str]:
    """Return a layer before the decoder and one of it; all pairs together have them all."""
    decoder = [name for name in model.layer_names if name.startswith("decoder")]
    before = [name for name in model.layer_names if name not in decoder]
    return [
        pair.choose(one, salt) for one, salt in ((before, "before"), (decoder, "decoder")) if one
    ]


def on_grid_of(layer: str, model: SegmentationModel) -> str:
    """Return the layer before the decoder that has a decoder layer's stride, or the input.

    What a decoder layer sees is a mixture of levels, but it lies on the grid of one of them.
    """
    before = [one for one in model.layer_names if "encoder" in one or "bottleneck" in one]
    if layer in before:
        return layer
    stride = model.layers[layer].grid.stride_dhw
    return next((name for name in before if model.layers[name].grid.stride_dhw == stride), INPUT)


def furthest(image: Volume, volume: Volume, network: Grid, truth: np.ndarray) -> float:
    """Return the largest distance, in voxels of the image, of a map's voxels from the truth."""
    low = volume.parallel_to(network)
    d, h, w = (min(sizes) for sizes in zip(low.shape_dhw, truth.shape[1:], strict=True))
    inside = truth[:, :d, :h, :w]
    voxels = np.argwhere(np.abs(inside[4]) < 1e-9)
    assert len(voxels)
    centroids = inside[:3, *voxels.T].T
    return float(np.abs(image.grid.voxel(low.grid.world(voxels)) - centroids).max())


def maps_of(pair: Pair, run: Run, image: Volume, methods: list[str]) -> list[tuple[str, Volume]]:
    """Return each method's map of a voxel, with its layer; a sentence instead is as good."""
    where = tuple(n // 2 for n in image.shape_dhw)
    target = TargetSpec(1, "voxel", voxel=where)
    layers, found = some_layers(pair, run.model), []
    for method, layer in zip(methods, itertools.cycle(layers), strict=False):
        if method in BY_CHANNEL:
            layer = min(run.model.layer_names, key=lambda name: run.model.layers[name].channels)
        wanted = None if method == "cam" else layer
        try:
            made = explain(run, image, target, method, wanted, options=CHEAP.get(method))
        except ExplainError as error:
            made = Explanation(None, {"reason": str(error)})
        if made.map is None:
            assert made.info["reason"].endswith(".")
        else:
            found.append((made.info["layer"], made.map))
    return found


@pytest.fixture
def run(make_run: Any, pair: Pair) -> Run:
    return make_run(plan=pair.plan(), **pair.config.to_dict())


def is_quick(pair: Pair) -> bool:
    """Return whether a hash chooses this number of dimensions for the pair."""
    both = [replace(pair.config, dims=dims) for dims in (2, 3)]
    able = [Pair(one) for one in both if one in CONFIGS]
    if pair.config.backbone in LARGE:
        able = [one for one in able if one.config.dims == 2] or able
        if zlib.crc32(pair.config.attention.encode()) % 5:
            return False
    chosen = zlib.crc32(f"{pair.config.backbone}{pair.config.attention}".encode()) % len(able)
    return str(able[chosen]) == str(pair)


PAIRS = list(pairs())
CONFIGS = [pair.config for pair in PAIRS]
ALL = pytest.mark.parametrize(
    "pair",
    [pytest.param(one, marks=[] if is_quick(one) else pytest.mark.slow) for one in PAIRS],
    ids=str,
)


def check(pair: Pair, run: Run, methods: list[str]) -> None:
    image = pair.image()
    network = preprocess(image, run.plan).grid
    truth = answers(pair, image, run.plan)

    found = maps_of(pair, run, image, methods)
    attention = attention_maps(run, image)

    assert found
    about = attention.info["maps"]
    found += [(about[name]["layer"], one) for name, one in attention.volumes.items()]
    for layer, one in found:
        level = truth[layer if layer == INPUT else on_grid_of(layer, run.model)]
        assert np.isfinite(one.data).all()
        assert furthest(image, one, network, level) < 1e-3
    assert all(np.isfinite(one["mean"]).all() for one in attention.info["numbers"].values())


@ALL
def test_every_map_is_finite_and_lies_where_its_level_does(pair: Pair, run: Run) -> None:
    others = sorted(set(METHODS) - {"hires-cam"})

    check(pair, run, ["hires-cam", pair.choose(others, "method")])


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_every_method_gives_a_map_or_a_sentence(pair: Pair, run: Run) -> None:
    check(pair, run, sorted(METHODS))
