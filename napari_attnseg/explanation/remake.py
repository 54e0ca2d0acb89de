"""Make a map once more, of another network, another input, or another region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from napari_attnseg.explanation.catalogue import make_method
from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.measure import Remake, Work
from napari_attnseg.explanation.prepared import Prepared
from napari_attnseg.explanation.stitch import RawMap, Stitcher, stitched_map
from napari_attnseg.explanation.target import Target
from napari_attnseg.models import SegmentationModel


def remake_of(
    prepared: Prepared, info: Mapping[str, Any], target: Target, labels: Tensor | None = None
) -> tuple[Remake, int]:
    """Return what makes a map again, and how often that yields.

    Args:
        prepared: The case.
        info: Record of the map: its method, options and layer.
        target: Whose logits are looked at.
        labels: Channel of the strongest logit on the network's grid, where it is known.

    Raises:
        ExplainError: If the method or the layer does not exist.
    """
    method = make_method(str(info["method"]), info.get("options"))
    layer = method.layer_for(prepared.run.model, str(info["layer"]))

    def stitcher(model: SegmentationModel, x: Tensor, region: Tensor) -> Stitcher:
        known = labels if x is prepared.x else None
        moved = Target(region, target.coefficients, target.kind)
        spacing = prepared.grid.spacing_dhw
        return Stitcher(model, x, prepared.plan, layer, moved, spacing=spacing, labels=known)

    def remake(model: SegmentationModel, x: Tensor, region: Tensor) -> Work[Heat]:
        steps = stitched_map(stitcher(model, x, region), method)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                raw = cast("RawMap", end.value)
                return Heat(raw.values.numpy(), raw.stride, raw.offset)
            yield

    return remake, method.work(stitcher(prepared.run.model, prepared.x, target.region))
