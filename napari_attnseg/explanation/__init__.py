"""What a network looked at: class activation maps and attention maps in the patient's space."""

from __future__ import annotations

from napari_attnseg.explanation.attention import (
    AttentionResult,
    attention_maps,
    attention_steps,
)
from napari_attnseg.explanation.catalogue import describe_methods, list_methods
from napari_attnseg.explanation.contract import METHODS, ExplainError
from napari_attnseg.explanation.explain import Explanation, explain, explain_steps
from napari_attnseg.explanation.files import (
    attention_record,
    map_files,
    write_attention,
    write_explanation,
)
from napari_attnseg.explanation.layers import LayerChoice, list_layers
from napari_attnseg.explanation.spec import TargetSpec
from napari_attnseg.explanation.tensor import explain_tensor

__all__ = [
    "METHODS",
    "AttentionResult",
    "ExplainError",
    "Explanation",
    "LayerChoice",
    "TargetSpec",
    "attention_maps",
    "attention_record",
    "attention_steps",
    "describe_methods",
    "explain",
    "explain_steps",
    "explain_tensor",
    "list_layers",
    "list_methods",
    "map_files",
    "write_attention",
    "write_explanation",
]
