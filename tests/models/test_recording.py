from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model, record
from napari_attnseg.models.recording import AttentionMap, RecordedMap
from napari_attnseg.models.sites import AttentionSite


def recorded_by(config: ModelConfig, *size: int, batch: int = 2) -> list[RecordedMap]:
    model = build_model(config).eval()
    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(batch, 1, *size))
    return recorded


def test_maps_are_named_after_their_place() -> None:
    recorded = recorded_by(ModelConfig(attention="cbam", sites=("encoder:0", "head")), 4, 8, 12)

    assert [one.name for one in recorded] == [
        "encoder0.cbam.channel", "encoder0.cbam.spatial", "head.cbam.channel", "head.cbam.spatial",
    ]  # fmt: skip
    assert [one.layer for one in recorded] == ["encoder0"] * 2 + ["decoder0"] * 2


@pytest.mark.parametrize("dims", [2, 3])
def test_a_spatial_map_is_a_volume_on_the_grid_of_its_layer(dims: int) -> None:
    recorded = recorded_by(ModelConfig(attention="gate", dims=dims), 4, 8, 12)

    volumes = {one.layer: one.volume() for one in recorded}
    depth = 2 if dims == 3 else 4
    assert volumes["encoder0"].shape == (2, 1, 4, 8, 12)
    assert volumes["encoder1"].shape == (2, 1, depth, 4, 6)


def test_a_2d_network_shows_each_slice_at_its_place() -> None:
    model = build_model(ModelConfig("unet2d", "gate", dims=2)).eval()
    x = torch.rand(2, 1, 3, 8, 16)
    with torch.no_grad(), record(model) as whole:
        model(x)
    with torch.no_grad(), record(model) as one_slice:
        model(x[1:, :, 2:3])

    torch.testing.assert_close(whole[0].tensor[1:, :, 2:3], one_slice[0].tensor)


def test_channel_weights_are_one_number_a_channel() -> None:
    deep = recorded_by(ModelConfig(attention="se", sites=("bottleneck",)), 4, 8, 12)
    flat = recorded_by(ModelConfig(attention="se", sites=("bottleneck",), dims=2), 4, 8, 12)

    assert deep[0].tensor.shape == (2, 32, 1, 1, 1)
    assert flat[0].tensor.shape == (2, 32, 4, 1, 1)
    assert deep[0].numbers().shape == flat[0].numbers().shape == (2, 32)


def test_project_and_excite_shows_profiles_and_gates_along_each_axis() -> None:
    model = build_model(ModelConfig(attention="pe", sites=("encoder:0",))).eval()
    seen: list[Tensor] = []
    model.stages["encoder0"].block.register_forward_hook(lambda *args: seen.append(args[-1]))
    model.stages["encoder0"].attention.register_forward_hook(lambda *args: seen.append(args[-1]))
    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(1, 1, 4, 8, 12))

    maps = {one.name.removeprefix("encoder0.pe."): one for one in recorded}
    assert sorted(maps) == [
        "gate_d", "gate_h", "gate_w", "profile_d", "profile_h", "profile_w",
    ]  # fmt: skip
    gate = seen[1] / seen[0]
    for name, others in (("d", (3, 4)), ("h", (2, 4)), ("w", (2, 3))):
        profile = seen[0].mean(dim=others, keepdim=True)
        torch.testing.assert_close(maps[f"profile_{name}"].tensor, profile)
        torch.testing.assert_close(
            maps[f"gate_{name}"].tensor, gate.mean(dim=others, keepdim=True), rtol=1e-4, atol=1e-4
        )
    assert maps["gate_h"].volume().shape == (1, 1, 4, 8, 12)


def test_nothing_is_kept_when_the_recording_ends() -> None:
    model = build_model(ModelConfig(attention="cbam")).eval()
    before = copy.deepcopy(model)

    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(1, 1, 4, 8, 12))
    count = len(recorded)
    model(torch.rand(1, 1, 4, 8, 12))

    assert len(recorded) == count
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
    assert {name: set(vars(one)) for name, one in model.named_modules()} == {
        name: set(vars(one)) for name, one in before.named_modules()
    }


def test_the_recording_ends_when_the_forward_pass_fails() -> None:
    model = build_model(ModelConfig(attention="se")).eval()

    with pytest.raises(ModelError), record(model):
        model(torch.rand(1, 3, 4, 8, 12))

    assert not any(one._forward_hooks for one in model.modules())


def test_markers_add_nothing_to_checkpoints() -> None:
    assert not AttentionMap("channel").state_dict()


class Everywhere(nn.Module):
    """Each voxel looks at all voxels, of which rows are computed when asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.map = AttentionMap("position")

    def forward(self, x: Tensor) -> Tensor:
        self.map(x, 2 * x)
        return x


@pytest.mark.parametrize("dims", [2, 3])
def test_rows_of_a_position_map_are_computed_when_asked_for(dims: int) -> None:
    model = build_model(ModelConfig("unet3d", dims=dims)).eval()
    model.head_attention = AttentionSite("head", "decoder0", "everywhere", Everywhere())
    features: list[Tensor] = []
    model.layer("decoder0").register_forward_hook(lambda *args: features.append(args[-1]))
    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(2, 1, 1, 4, 8))

    row = recorded[0].row((0, 1, 2))

    x = model.unfold(features[0], 2)
    energy = (x[:, :, :1, 1:2, 2:3] * 2 * x).sum(dim=1)  # (2, d, h, w)
    torch.testing.assert_close(row[:, 0], energy.flatten(1).softmax(dim=1).reshape(energy.shape))


def test_only_maps_that_are_volumes_become_volumes() -> None:
    recorded = recorded_by(ModelConfig(attention="se"), 4, 8, 12)

    with pytest.raises(ModelError, match="not a volume"):
        recorded[0].volume()
    with pytest.raises(ModelError, match="no rows"):
        recorded[0].row((0, 0, 0))
