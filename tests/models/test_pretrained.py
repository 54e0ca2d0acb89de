from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model
from napari_attnseg.models.pretrained import load_pretrained

Shapes = Iterator[tuple[str, tuple[int, ...]]]
State = dict[str, Tensor]

WIDTHS = (4, 4, 8, 16, 24, 32)
"""Of networks with the published names and few channels."""

NORM = ("weight", "bias", "running_mean", "running_var")


def norm(name: str, channels: int) -> Shapes:
    for one in NORM:
        yield f"{name}.{one}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def conv(name: str, out: int, channels: int, kernel: int, *, bias: bool = False) -> Shapes:
    yield f"{name}.weight", (out, channels, kernel, kernel)
    if bias:
        yield f"{name}.bias", (out,)


def linear(name: str, out: int, channels: int) -> Shapes:
    yield f"{name}.weight", (out, channels)
    yield f"{name}.bias", (out,)


def torchvision_resnet(depths: tuple[int, ...], inner: float = 0.25, groups: int = 1) -> Shapes:
    yield from conv("conv1", WIDTHS[1], 3, 7)
    yield from norm("bn1", WIDTHS[1])
    channels = WIDTHS[1]
    for stage, depth in enumerate(depths, start=1):
        out = WIDTHS[stage + 1]
        middle = int(out * inner)
        for block in range(depth):
            name = f"layer{stage}.{block}"
            yield from conv(f"{name}.conv1", middle, channels, 1)
            yield from norm(f"{name}.bn1", middle)
            yield from conv(f"{name}.conv2", middle, middle // groups, 3)
            yield from norm(f"{name}.bn2", middle)
            yield from conv(f"{name}.conv3", out, middle, 1)
            yield from norm(f"{name}.bn3", out)
            if not block:
                yield from conv(f"{name}.downsample.0", out, channels, 1)
                yield from norm(f"{name}.downsample.1", out)
            channels = out
    yield from linear("fc", 10, channels)


def torchvision_vgg16() -> Shapes:
    widths = (4, 4, 8, 8, 8, 8, 8, 12, 12, 12, 12, 12, 12)
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    channels = 3
    for place, width in zip(places, widths, strict=True):
        yield from conv(f"features.{place}", width, channels, 3, bias=True)
        channels = width
    yield from linear("classifier.0", 256, channels * 7 * 7)
    yield from linear("classifier.3", 256, 256)
    yield from linear("classifier.6", 10, 256)


def torchvision_densenet161(growth: int = 4) -> Shapes:
    yield from conv("features.conv0", 8, 3, 7)
    yield from norm("features.norm0", 8)
    channels = 8
    for block, depth in enumerate((6, 12, 36, 24), start=1):
        for layer in range(1, depth + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            yield from norm(f"{name}.norm1", channels)
            yield from conv(f"{name}.conv1", 4 * growth, channels, 1)
            yield from norm(f"{name}.norm2", 4 * growth)
            yield from conv(f"{name}.conv2", growth, 4 * growth, 3)
            channels += growth
        if block < 4:
            yield from norm(f"features.transition{block}.norm", channels)
            yield from conv(f"features.transition{block}.conv", channels // 2, channels, 1)
            channels //= 2
    yield from norm("features.norm5", channels)
    yield from linear("classifier", 10, channels)


def timm_resnest50d() -> Shapes:
    half, width = WIDTHS[1] // 2, WIDTHS[1]
    for place, out, channels in ((0, half, 3), (3, half, half), (6, width, half)):
        yield from conv(f"conv1.{place}", out, channels, 3)
        yield from norm(f"conv1.{place + 1}" if place < 6 else "bn1", out)
    channels = width
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        out = WIDTHS[stage + 1]
        middle = out // 4
        for block in range(depth):
            name = f"layer{stage}.{block}"
            yield from conv(f"{name}.conv1", middle, channels, 1)
            yield from norm(f"{name}.bn1", middle)
            yield from conv(f"{name}.conv2.conv", 2 * middle, middle // 2, 3)
            yield from norm(f"{name}.conv2.bn0", 2 * middle)
            yield from conv(f"{name}.conv2.fc1", 32, middle, 1, bias=True)
            yield from norm(f"{name}.conv2.bn1", 32)
            yield from conv(f"{name}.conv2.fc2", 2 * middle, 32, 1, bias=True)
            yield from conv(f"{name}.conv3", out, middle, 1)
            yield from norm(f"{name}.bn3", out)
            if not block:
                yield from conv(f"{name}.downsample.1", out, channels, 1)
                yield from norm(f"{name}.downsample.2", out)
            channels = out
    yield from linear("fc", 10, channels)


def timm_xception65() -> Shapes:
    channels = 3
    for place, width in enumerate((WIDTHS[1] // 2, WIDTHS[1])):
        yield from conv(f"stem.{place}.conv", width, channels, 3)
        yield from norm(f"stem.{place}.bn", width)
        channels = width
    entry = [(width,) * 3 for width in WIDTHS[2:5]]
    exit_flow = [(WIDTHS[4], 20, 20), (24, 24, 28)]
    for place, widths in enumerate([*entry, *[entry[-1]] * 16, *exit_flow]):
        name = f"blocks.{place}"
        if place in (0, 1, 2, 19):
            yield from conv(f"{name}.shortcut.conv", widths[-1], channels, 1)
            yield from norm(f"{name}.shortcut.bn", widths[-1])
        for number, width in enumerate(widths, start=1):
            part = f"{name}.stack.conv{number}"
            yield from conv(f"{part}.conv_dw", channels, 1, 3)
            yield from norm(f"{part}.bn_dw", channels)
            yield from conv(f"{part}.conv_pw", width, channels, 1)
            yield from norm(f"{part}.bn_pw", width)
            channels = width
    yield from linear("head.fc", 10, channels)


def filled(shapes: Shapes) -> State:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(shape, generator=generator) if shape else torch.tensor(7)
        for name, shape in shapes
    }


CASES: dict[str, tuple[State, dict[str, Any]]] = {
    "resnet-unet": (filled(torchvision_resnet((3, 4, 6, 3))), {"widths": WIDTHS}),
    "deeplab-resnet": (filled(torchvision_resnet((3, 4, 23, 3))), {"widths": WIDTHS}),
    "guided": (
        filled(torchvision_resnet((3, 4, 23, 3), inner=1.0, groups=4)),
        {"widths": WIDTHS, "groups": 4, "width": 4},
    ),
    # The fully connected layers of 4096 channels become 256.
    "fcn8s": (
        filled(torchvision_vgg16()),
        {"widths": (64, 128, 128, 192, 192, 4096), "width_factor": 1 / 16},
    ),
    "hdenseunet": (
        filled(torchvision_densenet161()),
        {"widths": (4, 8, 4, 4, 4, 4), "slice_widths": (), "slice_growth": 4, "growth": 3},
    ),
    "deeplab-resnest": (filled(timm_resnest50d()), {"widths": WIDTHS}),
    "deeplab-xception": (
        filled(timm_xception65()),
        {"widths": WIDTHS, "exit_widths": (20, 24, 28)},
    ),
}


def model_of(backbone: str, **changes: Any) -> Any:
    config = {"dims": 2, "in_channels": 3, "preset": "paper", **changes}
    return build_model(ModelConfig(backbone, options=CASES[backbone][1], **config))


def saved(state: State, folder: Path, name: str = "weights.safetensors") -> Path:
    path = folder / name
    if name.endswith(".safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def loaded_value(model: Any, suffix: str) -> Tensor:
    (found,) = (one for name, one in model.state_dict().items() if name.endswith(f".{suffix}"))
    return found


@pytest.mark.parametrize("backbone", CASES)
@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pth"])
def test_an_encoder_takes_all_weights_of_published_names(
    backbone: str, file: str, tmp_path: Path
) -> None:
    state = CASES[backbone][0]
    model = model_of(backbone)

    report = load_pretrained(model, saved(state, tmp_path, file))

    assert not report.missing
    assert {name.split(".")[0] for name in report.unused} <= {"fc", "head", "classifier"}
    weights = model.state_dict()
    taken = [name for name in state if name not in report.unused]
    assert len(report.loaded) == len(taken)
    for name in taken:
        (ours,) = (one for one in report.loaded if one.endswith(f".block.{name}"))
        torch.testing.assert_close(weights[ours].flatten(), state[name].flatten())


def test_what_classifies_and_what_decodes_is_left_alone(tmp_path: Path) -> None:
    model = model_of("resnet-unet")
    before = {name: one.clone() for name, one in model.state_dict().items()}

    report = load_pretrained(model, saved(CASES["resnet-unet"][0], tmp_path))

    assert set(report.unused) == {"fc.weight", "fc.bias"}
    for name, one in model.state_dict().items():
        if name not in report.loaded:
            assert torch.equal(one, before[name])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_grey_image_in_every_channel_is_answered_as_one_in_every_colour(
    channels: int, tmp_path: Path
) -> None:
    state = CASES["resnet-unet"][0]
    model = model_of("resnet-unet", in_channels=channels)
    grey = torch.rand(1, 1, 9, 11)

    load_pretrained(model, saved(state, tmp_path))

    stem: Any = model.layer("encoder1").block.conv1
    found = stem(grey.expand(-1, channels, -1, -1))
    expected = torch.nn.functional.conv2d(
        grey.expand(-1, 3, -1, -1), state["conv1.weight"], stride=2, padding=3
    )
    torch.testing.assert_close(found, expected)


def test_neighbouring_slices_take_the_place_of_colours(tmp_path: Path) -> None:
    state = CASES["hdenseunet"][0]
    model = model_of("hdenseunet", dims=3, in_channels=1)

    report = load_pretrained(model, saved(state, tmp_path))

    stem = loaded_value(model, "slice_encoder1.block.features.conv0.weight")
    torch.testing.assert_close(stem[:, 0], state["features.conv0.weight"])
    assert all("slice_" in name for name in report.loaded)


def test_old_names_and_those_of_parallel_training_are_understood(tmp_path: Path) -> None:
    new = CASES["hdenseunet"][0]
    old = {
        "module."
        + name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): one
        for name, one in new.items()
    }
    model = model_of("hdenseunet")

    assert "module.features.denseblock1.denselayer1.norm.1.weight" in old
    assert not load_pretrained(model, saved(old, tmp_path)).missing


def test_weights_inside_a_checkpoint_are_found(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "state_dict": CASES["resnet-unet"][0]}, path)

    assert not load_pretrained(model_of("resnet-unet"), path).missing


def test_vgg_without_its_fully_connected_layers_suffices(tmp_path: Path) -> None:
    state = {name: one for name, one in CASES["fcn8s"][0].items() if "features" in name}

    report = load_pretrained(model_of("fcn8s"), saved(state, tmp_path))

    assert {name.split(".")[0] for name in report.missing} == {"classifier"}


def without(state: State, part: str) -> State:
    return {name: one for name, one in state.items() if part not in name}


REFUSED: list[tuple[dict[str, Any], State, str]] = [
    ({}, CASES["deeplab-resnest"][0], "lacks .* of .* tensors, such as"),
    ({}, without(CASES["resnet-unet"][0], "layer3.5."), "lacks 15 of .* layer3.5.conv1.weight"),
    ({"preset": "resnet18"}, CASES["resnet-unet"][0], "is not of this network's encoder|another"),
    ({"dims": 3}, CASES["resnet-unet"][0], "no encoder in 2 dimensions"),
    ({}, {"note": torch.zeros(2)}, "lacks"),
]


@pytest.mark.parametrize(("changes", "state", "sentence"), REFUSED)
def test_weights_of_another_network_are_refused_and_nothing_changes(
    changes: dict[str, Any], state: State, sentence: str, tmp_path: Path
) -> None:
    model = model_of("resnet-unet", **changes)
    before = {name: one.clone() for name, one in model.state_dict().items()}

    with pytest.raises(ModelError, match=sentence):
        load_pretrained(model, saved(state, tmp_path))

    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    model = build_model(
        ModelConfig(
            "resnet-unet", dims=2, in_channels=3, preset="paper", options={"widths": (4,) * 6}
        )
    )

    with pytest.raises(ModelError, match=r"of another size.*choose the preset"):
        load_pretrained(model, saved(CASES["resnet-unet"][0], tmp_path))


def test_a_network_without_a_published_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no encoder in 2 dimensions"):
        load_pretrained(build_model(ModelConfig("unet2d", dims=2)), tmp_path / "any.pth")


class Harmful:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("this must never run",))


def test_a_file_that_would_run_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "harmful.pth"
    torch.save({"conv1.weight": Harmful()}, path)

    with pytest.raises(ModelError, match="can be read safely"):
        load_pretrained(model_of("resnet-unet"), path)

    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["note.pth", "note.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all, only words"])
def test_a_file_that_holds_no_weights_is_refused(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ModelError, match=rf"{name} is not a file of weights"):
        load_pretrained(model_of("resnet-unet"), tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be opened"):
        load_pretrained(model_of("resnet-unet"), tmp_path / "gone.pth")
