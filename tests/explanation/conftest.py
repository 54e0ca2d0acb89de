from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_attnseg.config import ModelConfig
from napari_attnseg.inference import Run, load_run, save_run_files, save_weights_atomic
from napari_attnseg.models import SegmentationModel, build_model
from napari_attnseg.preprocessing import Plan
from napari_attnseg.preprocessing.plan import ChannelPlan
from napari_attnseg.volume import Volume

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write an untrained run and load it; keywords override the plan and the model."""

    def make(
        *,
        classes: dict[int, str] | None = None,
        channels: tuple[str, ...] = ("MR",),
        plan: dict[str, Any] | None = None,
        folder: str = "001",
        train: dict[str, Any] | None = None,
        **model: Any,
    ) -> Run:
        classes = classes or {1: "liver", 2: "spleen"}
        config = ModelConfig(
            **{
                "backbone": "unet3d",
                "preset": "tiny",
                "in_channels": len(channels),
                "out_channels": len(classes) + 1,
                **model,
            }
        )
        shown = tuple(ChannelPlan(name=name) for name in channels)
        made = Plan(**{"patch_size": (16, 24, 20), "channels": shown, **(plan or {})})
        torch.manual_seed(0)
        path = save_run_files(
            tmp_path / folder,
            config=config,
            plan=made,
            classes=classes,
            channels=channels,
            train=train,
        )
        save_weights_atomic(path / "weights.safetensors", build_model(config))
        return load_run(path, device="cpu")

    return make


@pytest.fixture
def image() -> Volume:
    data = np.random.default_rng(0).normal(size=(1, 22, 34, 27)).astype(np.float32)
    return Volume(data, np.diag([1.0, 1.0, 1.0, 1.0]))


CHEAP: dict[str, dict[str, Any]] = {
    "occlusion": {"count": 6, "baseline": "median"},
    "integrated-gradients": {"steps": 2},
    "modality": {"steps": 2},
    "smooth-grad": {"samples": 2},
}


@pytest.fixture
def cheap() -> Callable[[str], dict[str, Any]]:
    """Return options with which a method takes little time."""
    return lambda method: dict(CHEAP.get(method, {}))


@pytest.fixture
def suited() -> Callable[..., SegmentationModel]:
    """Build a network that every method suits: with ReLU and presence heads."""

    def build(dims: int = 3, **more: Any) -> SegmentationModel:
        torch.manual_seed(0)
        config = {
            "backbone": f"unet{dims}d",
            "preset": "tiny",
            "dims": dims,
            "out_channels": 3,
            "attention": "presence",
            "options": {"activation": "relu"},
        }
        return build_model(ModelConfig(**{**config, **more})).eval()

    return build
