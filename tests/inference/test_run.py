from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from napari_attnseg.config import ModelConfig
from napari_attnseg.inference import (
    RunError,
    load_run,
    save_run_files,
    save_weights_atomic,
    write_json_atomic,
)
from napari_attnseg.inference.run import sha256
from napari_attnseg.models import build_model
from napari_attnseg.preprocessing import Plan


def test_a_run_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    config = ModelConfig(backbone="unet3d", attention="se", sites=("encoder:0",), out_channels=3)
    plan = Plan(patch_size=(16, 24, 32), spacing_dhw=(2.0, 1.0, 0.5))
    model = build_model(config)
    save_run_files(
        tmp_path / "003",
        config=config,
        plan=plan,
        classes={7: "tumour", 2: "liver"},
        channels=("T1",),
        split={"train": ["a"], "val": ["b"]},
        train={"loss": "dice-ce"},
        precision="bfloat16",
        threads=2,
    )
    digest = save_weights_atomic(tmp_path / "003" / "weights.safetensors", model)

    run = load_run(tmp_path / "003", device="cpu")

    assert (run.id, run.config, run.plan) == ("003", config, plan)
    assert run.classes == {2: "liver", 7: "tumour"}
    assert run.values == (0, 2, 7)
    assert run.split == {"train": ["a"], "val": ["b"]}
    assert (run.precision, run.threads, run.channels) == ("bfloat16", 2, ("T1",))
    assert run.weights_sha256 == digest == sha256(tmp_path / "003" / "weights.safetensors")
    assert not run.model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], tensor)


def test_the_last_weights_can_be_asked_for(make_run: Any) -> None:
    run = make_run()
    last = build_model(run.config)
    save_weights_atomic(run.path / "last.safetensors", last)

    by_name = load_run(run.path, weights="last", device="cpu")
    by_file = load_run(run.path / "last.safetensors", device="cpu")

    expected = last.state_dict()
    for loaded in (by_name, by_file):
        assert loaded.weights == "last"
        assert all(torch.equal(expected[k], v) for k, v in loaded.model.state_dict().items())


def test_weights_of_another_network_are_refused(make_run: Any) -> None:
    run = make_run()
    other = build_model(run.config.replace(attention="se"))
    save_weights_atomic(run.path / "weights.safetensors", other)

    with pytest.raises(RunError, match="another network"):
        load_run(run.path)


def test_weights_of_another_size_are_refused(make_run: Any) -> None:
    run = make_run()
    other = build_model(run.config.replace(out_channels=5))
    save_weights_atomic(run.path / "weights.safetensors", other)

    with pytest.raises(RunError, match=r"shape .* instead of"):
        load_run(run.path)


def test_weights_that_are_not_finite_are_refused(make_run: Any) -> None:
    run = make_run()
    state = run.model.state_dict()
    next(iter(state.values())).fill_(float("nan"))
    save_weights_atomic(run.path / "weights.safetensors", state)

    with pytest.raises(RunError, match="not finite"):
        load_run(run.path)


def test_damaged_weights_are_refused(make_run: Any) -> None:
    run = make_run()
    file = run.path / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(RunError, match="damaged"):
        load_run(run.path)


def test_a_run_without_weights_is_refused(make_run: Any) -> None:
    run = make_run()
    (run.path / "weights.safetensors").unlink()

    with pytest.raises(RunError, match="no weights"):
        load_run(run.path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config\.json is missing"):
        load_run(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"model": {"backbone": "unet3d"}}', '{"model": 3}'])
def test_damaged_settings_are_refused(make_run: Any, text: str) -> None:
    run = make_run()
    (run.path / "config.json").write_text(text)

    with pytest.raises(RunError):
        load_run(run.path)


def test_an_unknown_backbone_is_refused(make_run: Any) -> None:
    run = make_run()
    saved = json.loads((run.path / "config.json").read_text())
    saved["model"]["backbone"] = "unknown"
    (run.path / "config.json").write_text(json.dumps(saved))

    with pytest.raises(RunError, match="unknown"):
        load_run(run.path)


def test_a_copied_run_works_alone(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    run.path.rename(tmp_path / "copied")

    assert load_run(tmp_path / "copied", device="cpu").id == "copied"


def test_weights_that_share_memory_are_written_twice(tmp_path: Path) -> None:
    shared = torch.rand(3, 4)

    save_weights_atomic(tmp_path / "w.safetensors", {"a": shared, "b": shared.T})

    found = safetensors.torch.load_file(tmp_path / "w.safetensors")
    assert torch.equal(found["b"], shared.T)


def test_json_with_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(tmp_path / "a.json", {"dice": float("nan")})

    assert list(tmp_path.iterdir()) == []
