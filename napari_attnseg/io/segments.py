"""Names and values of Slicer's segments, which stand in the key/value pairs of an NRRD file."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

_KEY = re.compile(r"Segment(\d{1,6})_(\w+)")
_GOLDEN_RATIO = 0.618034
_OWN_FIELDS = ("Name", "LabelValue", "Layer", "Extent")


@dataclass
class Segment:
    """One segment: its name, its value in a layer, and what else the file says of it."""

    name: str
    value: int
    layer: int
    fields: dict[str, str] = field(default_factory=dict)


def segments_in(pairs: Mapping[str, str]) -> list[Segment]:
    """Return the segments that key/value pairs tell of, in their order.

    Files of Slicer before 4.11 hold one segment a layer and give neither value nor layer.
    """
    found: dict[int, dict[str, str]] = {}
    for key, value in pairs.items():
        match = _KEY.fullmatch(key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [_segment(number, found[number]) for number in sorted(found)]


def is_segment_key(key: str) -> bool:
    """Return whether a key tells of a segment or of the segmentation."""
    return _KEY.fullmatch(key) is not None or key.startswith("Segmentation_")


def merged(layers: np.ndarray, segments: list[Segment]) -> tuple[np.ndarray, dict[int, str]]:
    """Return layers as one label map, or as one channel a segment where segments overlap.

    Values stay as they are where each segment has its own; else they are numbered from 1.

    Args:
        layers: ``(C, D, H, W)`` integers.
        segments: Those of the file, with layers below C.

    Returns:
        ``(1, D, H, W)`` with the names of its values, or ``(segments, D, H, W)`` of 0 and 1
        and no names.
    """
    if len(layers) == 1:
        return layers, {one.value: one.name for one in segments}
    values = [one.value for one in segments]
    if len(set(values)) < len(values):
        values = list(range(1, len(segments) + 1))
    kind = np.promote_types(layers.dtype, np.min_scalar_type(max(values)))
    whole = np.zeros((1, *layers.shape[1:]), dtype=kind)
    for one, value in zip(segments, values, strict=True):
        mask = layers[one.layer] == one.value
        if whole[0][mask].any():
            return masks(layers, segments), {}
        whole[0][mask] = value
    return whole, {value: one.name for one, value in zip(segments, values, strict=True)}


def masks(layers: np.ndarray, segments: list[Segment]) -> np.ndarray:
    """Return one channel of 0 and 1 for each segment, ``(segments, D, H, W)``."""
    out = np.empty((len(segments), *layers.shape[1:]), dtype=np.uint8)
    for channel, one in zip(out, segments, strict=True):
        np.equal(layers[one.layer], one.value, out=channel, casting="unsafe")
    return out


def pairs_of(segments: list[Segment], shape: tuple[int, ...]) -> dict[str, str]:
    """Return the key/value pairs that tell Slicer of segments.

    Args:
        segments: Those of the file.
        shape: D, H and W.
    """
    extent = " ".join(f"0 {size - 1}" for size in shape[::-1])
    pairs = {}
    for number, one in enumerate(segments):
        own = {
            "ID": f"Segment_{one.value}_{one.layer}",
            "Color": _colour(number + 1),
            **{key: value for key, value in one.fields.items() if key not in _OWN_FIELDS},
            "Name": one.name,
            "LabelValue": str(one.value),
            "Layer": str(one.layer),
            "Extent": extent,
        }
        pairs.update({f"Segment{number}_{key}": value for key, value in own.items()})
    pairs["Segmentation_ContainedRepresentationNames"] = "Binary labelmap|"
    pairs["Segmentation_MasterRepresentation"] = "Binary labelmap"
    pairs["Segmentation_ReferenceImageExtentOffset"] = "0 0 0"
    return pairs


def _segment(number: int, fields: dict[str, str]) -> Segment:
    name = fields.get("Name", "").strip() or f"segment {number + 1}"
    value = _number(fields.get("LabelValue", ""), 1)
    layer = _number(fields.get("Layer", ""), 0 if "LabelValue" in fields else number)
    return Segment(name, value, layer, fields)


def _number(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch(r"\d{1,9}", text.strip()) else otherwise


def _colour(number: int) -> str:
    colour = colorsys.hsv_to_rgb(number * _GOLDEN_RATIO % 1, 0.7, 0.9)
    return " ".join(f"{one:.6g}" for one in colour)
