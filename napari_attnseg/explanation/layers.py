"""The layers that can be explained, and what to expect of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from napari_attnseg.axes import Size, Spacing
from napari_attnseg.explanation.error import ExplainError
from napari_attnseg.inference import Run
from napari_attnseg.models import SegmentationModel


@dataclass(frozen=True)
class LayerChoice:
    """One layer on offer: the output of a whole block, after its normalisation and activation.

    Args:
        name: As the network calls it.
        stride_dhw: Voxels of the network's grid per voxel of the map.
        stride_mm: The same in mm, along D, H and W of the network's grid.
        remark: What to know about maps of this layer; may be empty.
        is_default: Whether it is taken when none is chosen.
    """

    name: str
    stride_dhw: Spacing
    stride_mm: Spacing
    remark: str = ""
    is_default: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "name": self.name,
            "stride_dhw": list(self.stride_dhw),
            "stride_mm": list(self.stride_mm),
            "remark": self.remark,
            "default": self.is_default,
        }


def list_layers(run: Run) -> list[LayerChoice]:
    """Return the layers of a run's network that can be explained, in the order of execution."""
    chosen = default_layer(run.model)
    spacing = run.plan.spacing_dhw
    choices = []
    for name in run.model.layer_names:
        stride = run.model.layer_grid(name, cast("Size", run.plan.patch_size)).stride_dhw
        in_mm = cast("Spacing", tuple(s * mm for s, mm in zip(stride, spacing, strict=True)))
        choices.append(LayerChoice(name, stride, in_mm, layer_remark(name), name == chosen))
    return choices


def default_layer(model: SegmentationModel) -> str:
    """Return the layer that is explained when none is chosen.

    It is the last one, in the order of execution, whose cells are coarser than the network's
    voxels: where most has been decided, short of what only repeats the segmentation. Of the
    layers of trained networks, maps of it told best which voxels the network needs.
    """
    coarse = [name for name in model.layer_names if max(model.layers[name].grid.stride_dhw) > 1]
    return coarse[-1] if coarse else model.layer_names[-1]


def check_layer(model: SegmentationModel, layer: str | None) -> str:
    """Return the layer to explain.

    Raises:
        ExplainError: If the network has no such block output.
    """
    if layer is None:
        return default_layer(model)
    if layer not in model.layer_names:
        raise ExplainError(
            f"There is no layer {layer!r} to explain; this network has "
            f"{', '.join(model.layer_names)}."
        )
    return layer


def layer_remark(name: str) -> str:
    """Return what to know about maps of a layer, or an empty string."""
    if name == "decoder0":
        return "≈ the segmentation itself"
    if name == "encoder0":
        return "edges and brightness, hardly any context"
    return ""
