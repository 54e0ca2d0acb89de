"""What the attention modules of a network did for one case, by module and by place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_attnseg.session.files import read_json
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.work import Event


@dataclass(frozen=True)
class SliceCurve:
    """Weights along one axis of the image.

    Args:
        axis: 0, 1 or 2 for D, H and W of the image.
        places: Where each weight lies, in voxels of the image along the axis.
        mean: One weight a place, the mean over channels.
        low, high: Quartiles over channels, or empty.
        bounds: Least and greatest value that is possible, or None.
        keys: Which slices were taken for the key ones, or empty.
        key_share: Share of the channels that chose each slice, or empty.
    """

    axis: int
    places: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    bounds: tuple[float, float] | None = None
    keys: tuple[bool, ...] = ()
    key_share: tuple[float, ...] = ()


@dataclass(frozen=True)
class SampledBox:
    """Where in the patient a transformer sampled.

    Args:
        corners_ras: Eight corners in mm.
        edges: Twelve pairs of corners.
        whole_ras: Eight corners of what it could have sampled.
        words: How it moved, turned and scaled.
    """

    corners_ras: tuple[tuple[float, ...], ...]
    edges: tuple[tuple[int, int], ...]
    whole_ras: tuple[tuple[float, ...], ...]
    words: str = ""


@dataclass(frozen=True)
class AttentionItem:
    """One recorded attention map: a volume, numbers, a curve, a box, or rows made when asked for.

    Args:
        name: Place, module and marker, such as ``encoder0.se.channel``.
        kind: Of its marker.
        values: One weight a channel.
        rows: Weights of each branch, or a matrix of channels.
        path: File of its volume.
        curve: Its weights along an axis.
        boxes: What was sampled, the window that counts most first.
        about: What the record says of it.
    """

    name: str
    kind: str
    values: tuple[float, ...] = ()
    rows: tuple[tuple[float, ...], ...] = ()
    path: Path | None = None
    curve: SliceCurve | None = None
    boxes: tuple[SampledBox, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def site(self) -> str:
        """Where the module sits, such as ``encoder0``."""
        return self.name.partition(".")[0]

    @property
    def module(self) -> str:
        """The module it belongs to, such as ``encoder0.se``."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class AttentionView:
    """Everything that the attention modules did for one case."""

    case: str
    run: RunInfo
    items: tuple[AttentionItem, ...]
    reason: str = ""


def read_attention(run: RunInfo, case: str, event: Event) -> AttentionView:
    """Return the list of recorded attention maps with the numbers written beside them."""
    info = dict(event.get("info") or {})
    numbers = info.get("numbers")
    if isinstance(numbers, str):
        numbers = read_json(Path(numbers))
    record = read_json(Path(info["record"])) if info.get("record") else {}
    curves = _by_name(info.get("curves") or record.get("curves"))
    boxes = _by_name(info.get("boxes") or record.get("boxes"))
    asked = info.get("on_demand") or record.get("on_demand") or ()
    names = list(dict.fromkeys([*(numbers or {}), *curves, *boxes, *asked]))
    items = [
        _item(name, (numbers or {}).get(name) or {}, curves.get(name), boxes.get(name))
        for name in names
    ]
    return AttentionView(case, run, tuple(items), str(info.get("reason") or ""))


def _item(name: str, about: dict[str, Any], curves: Any, boxes: Any) -> AttentionItem:
    kind = str(about.get("kind") or (curves[0].get("kind") if curves else "position"))
    if boxes and not about.get("kind"):
        kind = "transform"
    mean = about.get("mean")
    is_table = isinstance(mean, list) and bool(mean) and isinstance(mean[0], list)
    # The window that counts most stands first.
    ordered = sorted(boxes or (), key=lambda box: -float(box.get("weight") or 0))
    return AttentionItem(
        name,
        kind,
        values=tuple(map(float, mean)) if isinstance(mean, list) and not is_table else (),
        rows=tuple(tuple(map(float, row)) for row in mean) if is_table and mean else (),
        path=Path(about["path"]) if about.get("path") else None,
        curve=_curve(curves[0]) if curves else None,
        boxes=tuple(_box(box) for box in ordered),
        about={key: value for key, value in about.items() if key != "mean"},
    )


def _curve(one: dict[str, Any]) -> SliceCurve:
    def numbers(key: str) -> tuple[float, ...]:
        return tuple(float(value) for value in one.get(key) or ())

    bounds = one.get("bounds")
    return SliceCurve(
        axis=int(one["axis"]),
        places=numbers("image_slice"),
        mean=numbers("mean"),
        low=numbers("low"),
        high=numbers("high"),
        bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
        keys=tuple(bool(value) for value in one.get("key") or ()),
        key_share=numbers("key_share"),
    )


def _box(one: dict[str, Any]) -> SampledBox:
    return SampledBox(
        corners_ras=tuple(tuple(map(float, corner)) for corner in one["corners_ras"]),
        edges=tuple((int(edge[0]), int(edge[1])) for edge in one["edges"]),
        whole_ras=tuple(tuple(map(float, corner)) for corner in one.get("whole_ras") or ()),
        words=box_words(one),
    )


def box_words(one: dict[str, Any]) -> str:
    """Return how a box was moved, turned and scaled, in words."""
    parts = []
    for key, text in (
        ("translation_mm", "moved {} mm"),
        ("rotation_degrees", "turned {}°"),
        ("scale", "scaled {}"),
    ):
        found = one.get(key)
        if found is not None:
            values = found if isinstance(found, list) else [found]
            parts.append(text.format(" ".join(f"{float(value):.3g}" for value in values)))
    return ", ".join(parts)


def _by_name(found: Any) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for one in found or ():
        grouped.setdefault(str(one["name"]), []).append(one)
    return grouped
