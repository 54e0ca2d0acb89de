"""Segment 3-D medical images with any backbone and any attention, and see what the network saw.

The names below load what they need when they are first used, so that importing the package costs
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "read_volume": "io",
    "write_volume": "io",
    "Volume": "volume",
    "build_model": "models",
    "list_models": "models",
    "ModelConfig": "config",
    "load_run": "inference",
    "predict": "inference",
    "explain": "explanation",
    "explain_tensor": "explanation",
    "evaluate": "evaluation",
}

__all__ = ["__version__", *_WHERE]

if TYPE_CHECKING:
    from napari_attnseg.config import ModelConfig as ModelConfig
    from napari_attnseg.evaluation.evaluate import evaluate as evaluate
    from napari_attnseg.explanation import explain_tensor as explain_tensor
    from napari_attnseg.explanation.explain import explain as explain
    from napari_attnseg.inference import load_run as load_run
    from napari_attnseg.inference.predict import predict as predict
    from napari_attnseg.io import read_volume as read_volume
    from napari_attnseg.io import write_volume as write_volume
    from napari_attnseg.models import build_model as build_model
    from napari_attnseg.models import list_models as list_models
    from napari_attnseg.volume import Volume as Volume


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
