from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.inference.sliding import sliding_window
from napari_attnseg.models import ModelError, SegmentationModel, build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.sizing import multiply_adds
from napari_attnseg.training.augment import Augmentation
from napari_attnseg.training.batches import Batch, BatchMaker
from napari_attnseg.training.learner import Learner
from napari_attnseg.training.sampling import Sampler
from napari_attnseg.training.sides import mirroring

SMALL = {"path": (3, 3, 4), "fused": (5, 6), "dropout": 0.0}
THREE = {**SMALL, "factors": ((3, 3, 3), (2, 2, 2)), "fused_kernel": 3, "residual": (3,)}


def on_meta(config: ModelConfig) -> Any:
    with torch.device("meta"):
        return build_model(config)


def built(options: Any, dims: int = 3, preset: str = "plan") -> SegmentationModel:
    """Return a network in evaluation whose normalisations have seen something."""
    torch.manual_seed(0)
    options = {"cost": "own", "norm": "batch", **options}
    model = build_model(ModelConfig("deepmedic", dims=dims, preset=preset, options=options))
    for one in model.modules():
        if isinstance(one, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            torch.nn.init.uniform_(one.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            torch.nn.init.uniform_(one.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return model.double().eval()


def finished(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


@pytest.mark.parametrize(
    ("preset", "channels", "weights"), [("paper", 4, 663_215), ("repository", 2, 2_008_985)]
)
def test_a_preset_has_the_published_number_of_weights(
    preset: str, channels: int, weights: int
) -> None:
    config = ModelConfig("deepmedic", in_channels=channels, out_channels=5, preset=preset)

    assert count_parameters(on_meta(config)) == weights


def footprint(model: SegmentationModel, layer: str, size: Size) -> tuple[Tensor, Tensor]:
    """Return a voxel in the middle of a layer, and which voxels of the input it depends on."""
    x = torch.rand(1, model.config.in_channels, *size, dtype=torch.float64, requires_grad=True)
    seen: list[Tensor] = []
    model.layer(layer).register_forward_hook(lambda *args: seen.append(args[-1]))
    model(x)
    voxel = torch.tensor(seen[0].shape[2:]) // 2
    d, h, w = voxel.tolist()
    (gradient,) = torch.autograd.grad(seen[0][0, :, d, h, w].sum(), x)
    return voxel, gradient.abs().sum(dim=(0, 1)) > 0


@pytest.mark.parametrize(
    ("layer", "extent", "voxels"), [("encoder0", 17, 17), ("encoder1", 49, 17)]
)
def test_a_pathway_sees_as_far_as_published(layer: str, extent: int, voxels: int) -> None:
    model = built({"path": (2,) * 8, "fused": (2, 2), "norm": "none"}, preset="paper")
    for weight in model.parameters():
        torch.nn.init.ones_(weight)

    voxel, seen = footprint(model, layer, (51, 54, 57))

    grid = model.layer_grid(layer, (51, 54, 57))
    for axis in range(3):
        profile = seen.any(dim=tuple(one for one in range(3) if one != axis))
        (places,) = torch.where(profile)
        centre = grid.offset_dhw[axis] + grid.stride_dhw[axis] * voxel[axis]
        assert len(places) == voxels
        assert int(places[-1] - places[0]) + 1 == extent == grid.field_dhw[axis]
        assert float(places[0] + places[-1]) / 2 == centre


@pytest.mark.parametrize(("size", "inside"), [(25, 9), (37, 21)])
def test_a_segment_without_padding_gives_what_the_paper_says(size: int, inside: int) -> None:
    model = on_meta(ModelConfig("deepmedic", preset="paper"))
    path = model.paths[0]

    labelled = path(torch.empty(1, 1, size, size, size, device="meta"))

    assert labelled.shape == (1, 50, inside, inside, inside)


def test_a_coarse_pathway_sees_nineteen_samples_for_nine_voxels() -> None:
    model = on_meta(ModelConfig("deepmedic", preset="paper"))
    margin = model.context_margin
    x = torch.empty(1, 1, *(9 + 2 * m for m in margin), device="meta")

    seen = [path.samples(x, margin, (0, 0, 0)).shape[2:] for path in model.paths]

    assert seen == [(25, 25, 25), (19, 19, 19)]


def plain_logits(model: Any, image: np.ndarray, voxel: tuple[int, int, int]) -> Tensor:
    """Return the logits of one voxel: the samples around it, fine and coarse, and all layers."""
    weights = model.state_dict()

    def after_norm(y: Tensor, name: str) -> Tensor:
        mean, variance, scale, shift = (
            weights[f"{name}.0.{one}"][:, None, None, None]
            for one in ("running_mean", "running_var", "weight", "bias")
        )
        return F.prelu((y - mean) / (variance + 1e-5).sqrt() * scale + shift,
                       weights[f"{name}.1.weight"])  # fmt: skip

    def path(name: str, factor: int) -> Tensor:
        # A coarse sample stands for a block of voxels, and is taken in its middle.
        centre = [v // factor * factor + factor // 2 for v in voxel]
        axes = [[min(max(c + factor * s, 0), n - 1) for s in range(-3, 4)]
                for c, n in zip(centre, image.shape, strict=True)]  # fmt: skip
        y = torch.from_numpy(image[np.ix_(*axes)])[None, None]
        first = f"{name}.block.layers.0"
        y = F.conv3d(y, weights[f"{first}.weight"], weights[f"{first}.bias"])
        for index in (1, 2):
            layer = f"{name}.block.layers.{index}"
            y = F.conv3d(after_norm(y, layer), weights[f"{layer}.2.weight"])
        return y

    y = torch.cat([path("stages.encoder0", 1), path("stages.encoder1", 3)], dim=1)
    y = F.conv3d(after_norm(y, "stages.decoder1.block"), weights["stages.decoder1.block.2.weight"])
    y = after_norm(y, "stages.decoder0.block.0")
    y = F.conv3d(y, weights["stages.decoder0.block.0.3.weight"])
    y = F.conv3d(after_norm(y, "head"), weights["head.3.weight"], weights["head.3.bias"])
    return y[0, :, 0, 0, 0]


def test_a_voxel_is_labelled_by_its_surroundings_fine_and_coarse() -> None:
    model = built(SMALL)
    image = np.random.default_rng(0).normal(size=(8, 11, 13))

    with torch.no_grad():
        logits = model(torch.from_numpy(image)[None, None])

        for voxel in ((0, 0, 0), (4, 5, 6), (7, 10, 12), (3, 0, 11)):
            expected = plain_logits(model, image, voxel)
            torch.testing.assert_close(logits[0, :, *voxel], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("options", [SMALL, THREE], ids=["two", "three"])
def test_many_windows_give_exactly_what_one_gives(options: Any, dims: int) -> None:
    model = built(options, dims)
    x = torch.randn(1, 1, 14, 23, 17, dtype=torch.float64)

    with torch.no_grad():
        whole = model(x)[0]
    patch = (6, 6, 12)
    tiled = finished(sliding_window(model, x, patch, overlap=0.0))
    overlapping = finished(sliding_window(model, x, patch, overlap=0.5))

    torch.testing.assert_close(tiled.double(), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(overlapping.double(), whole, rtol=1e-5, atol=1e-5)


def test_a_residual_pathway_adds_the_middle_of_the_layer_before_the_last() -> None:
    model = built({**SMALL, "residual": (3,)})
    path = model.layer("encoder0").block  # type: ignore[union-attr]
    x = torch.randn(1, 1, 9, 10, 11, dtype=torch.float64)

    first = path.layers[0](x)
    second = path.layers[1](first)
    third = path.layers[2](second)

    expected = third.clone()
    expected[:, :3] += first[:, :, 2:-2, 2:-2, 2:-2]
    torch.testing.assert_close(path(x), expected)


def test_a_planned_network_samples_the_axes_that_the_plan_pools_first() -> None:
    options = {
        "widths": (8, 16),
        "strides": ((1, 1, 1), (1, 2, 2)),
        "kernels": ((1, 3, 3), (3, 3, 3)),
    }
    model = on_meta(ModelConfig("deepmedic", preset="plan", options=options))

    assert model.size_multiple == (1, 3, 3)
    assert [path.kernel for path in model.paths] == [(1, 3, 3), (3, 3, 3)]
    assert model.context_margin == (8, 24, 24)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_planned_network_costs_about_as_much_as_the_planned_unet(dims: int) -> None:
    settings: dict[str, Any] = {
        "dims": dims, "preset": "plan", "options": {"widths": (16, 32, 64, 128)}
    }  # fmt: skip
    size = (1 if dims == 2 else 48, 48, 48)

    unet, found = (
        multiply_adds(on_meta(ModelConfig(name, **settings)), size)
        for name in ("unet3d", "deepmedic")
    )

    assert 0.6 < found / unet < 1.25


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"factors": ()}, "coarser pathway, of which there is at least one"),
        ({"factors": ((3, 3),)}, "three positive numbers"),
        ({"residual": (9,)}, "numbers of convolutions that there are"),
        ({"kernels": ((2, 3, 3),)}, "three odd numbers"),
    ],
)
def test_pathways_that_cannot_be_are_refused(options: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        build_model(ModelConfig("deepmedic", options=options))


def test_training_patches_bring_the_image_around_them() -> None:
    image = torch.arange(20 * 24 * 28).reshape(1, 20, 24, 28).float()
    label = (image[0] % 3).to(torch.uint8)
    case: Any = SimpleNamespace(image=image, label=label)
    sampler = Sampler([(20, 24, 28)], [[]], (4, 6, 8), 0.0, [1], seed=0)
    augmentation = Augmentation((), (1.0, 1.0, 1.0), mirroring("RAS", {1: "a", 2: "b"}))

    plain = BatchMaker([case], sampler, augmentation, 1).make(0)
    batch = BatchMaker([case], sampler, augmentation, 1, (2, 0, 3)).make(0)

    assert torch.equal(batch.label, plain.label)
    assert batch.image.shape == (1, 1, 8, 6, 14)
    torch.testing.assert_close(batch.image[:, :, 2:-2, :, 3:-3], plain.image, rtol=0, atol=0.02)
    d, h, w = (
        int(axis[0]) for axis in torch.where(image[0] == plain.image[0, 0, 0, 0, 0].round())
    )
    bordered = F.pad(image[None], (3, 3, 0, 0, 2, 2), mode="replicate")[0, 0]
    around = bordered[d : d + 8, h : h + 6, w : w + 14]
    torch.testing.assert_close(batch.image[0, 0], around, rtol=0, atol=0.02)


def test_a_step_learns_from_a_patch_with_the_image_around_it() -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig("deepmedic"))
    learner = Learner(
        model,
        lambda logits, target, ignore_index: F.cross_entropy(logits, target),
        train=TrainConfig(),
        is_fine_tuning=False,
        precision="float32",
    )
    margin = model.context_margin
    image = torch.randn(1, 1, *(n + 2 * m for n, m in zip((3, 6, 9), margin, strict=True)))
    target = torch.randint(0, 2, (1, 3, 6, 9))
    seen: list[Any] = []
    model.register_forward_hook(lambda *args: seen.append(args[-1].logits.shape))

    outcome = learner.step(Batch(image, target), number=0, rate=1e-3)

    assert outcome.is_applied
    assert seen == [(1, 2, 3, 6, 9)]
