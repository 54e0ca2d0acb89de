"""Maps as they are shown: raw values with their place, a title, a caption and what is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_attnseg.session.runs import RunInfo
from napari_attnseg.session.work import Event
from napari_attnseg.volume import Volume

TARGETS = {
    "class": "the whole structure",
    "component": "this part",
    "voxel": "the clicked voxel",
    "region": "the drawn region",
    "contrast": "rather than another class",
    "false-positive": "where it was invented",
    "false-negative": "where it was missed",
}
"""Kinds of regions that are explained, in words."""

GATE = (0.0, 1.0)


@dataclass(frozen=True)
class MapView:
    """A map that can be shown, or the sentence that says why there is none.

    Args:
        case: Name of the case.
        run: The run that was explained.
        title: What it is, such as ``HiResCAM anterior @ decoder 2 (run 12)``.
        volume: Raw values on the network's own grid, or None.
        info: What was written beside it.
        reason: Why there is no map, in a sentence.
        is_signed: Whether negative values mean the opposite of positive ones.
        caption: Method, class, target, layer with the size of its cells, and weights.
        path: Its file, where it has one.
        bounds: Least and greatest value that is possible, for gates.
        marked_ras: The voxel it is about, in RAS mm, if it is about one.
    """

    case: str
    run: RunInfo
    title: str
    volume: Volume | None
    info: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    is_signed: bool = True
    caption: str = ""
    path: Path | None = None
    bounds: tuple[float, float] | None = None
    marked_ras: tuple[float, float, float] | None = None

    @property
    def is_class_map(self) -> bool:
        """Whether it says where the segmentation of a class comes from."""
        return "method" in self.info and self.info.get("class") is not None

    @property
    def is_unused(self) -> bool:
        """Whether the network has the weights, but hardly uses what they give."""
        return bool(self.info.get("unused"))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to know before it is believed, in sentences."""
        remark = str(self.info.get("layer_remark") or "")
        found = [str(one) for one in self.info.get("remarks") or ()]
        return tuple(found + ([f"This layer: {remark}."] if remark else []))


def read_map(run: RunInfo, case: str, event: Event, titles: Mapping[str, str]) -> MapView:
    """Read what a ``map`` event speaks of; ``titles`` are those of the methods by name."""
    info = dict(event.get("info") or {})
    kind = str(info.get("kind") or "")
    if kind in ("feature", "attend"):
        return _attention_map(run, case, event["path"], info)
    if kind == "difference":
        return _difference(run, case, event["path"], info)
    return _class_map(run, case, event.get("path"), info, titles)


def read_gate(run: RunInfo, case: str, name: str, path: Path, about: Mapping[str, Any]) -> MapView:
    """Read a volume of attention weights; those that cannot leave 0 to 1 keep that range."""
    from napari_attnseg.io import read_volume

    bounds = about.get("bounds")
    cells = cell_words(about.get("stride_mm"))
    where = f"{layer_words(str(about.get('layer', '')))}{f' ({cells})' if cells else ''}"
    return MapView(
        case,
        run,
        f"{name} (run {run.short})",
        read_volume(path),
        info=dict(about),
        is_signed=bounds is None,
        caption=f"Attention weights, {name}, {where}, run {run.short}",
        path=path,
        bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
    )


def layer_words(name: str) -> str:
    """Return ``decoder 2`` for ``decoder2``."""
    stem = name.rstrip("0123456789")
    number = name[len(stem) :]
    return f"{stem} {number}" if number else stem


def layer_title(name: str, stride_dhw: Any, spacing_dhw: Any) -> str:
    """Return a layer with the size of its cells, such as ``decoder 2 · 4 mm``."""
    if not stride_dhw or not spacing_dhw:
        return layer_words(name)
    cells = [stride * mm for stride, mm in zip(stride_dhw, spacing_dhw, strict=True)]
    return f"{layer_words(name)} · {cell_words(cells)}"


def cell_words(cells_mm: Any) -> str:
    """Return the size of a map's cells, such as ``4 mm`` or ``2 x 4 x 4 mm``."""
    if not cells_mm:
        return ""
    cells = [float(mm) for mm in cells_mm]
    if max(cells) - min(cells) < 0.05 * max(cells):
        return f"{cells[0]:.2g} mm"
    return " x ".join(f"{mm:.2g}" for mm in cells) + " mm"


def target_words(target: Mapping[str, Any], name: str, classes: Mapping[int, str]) -> str:
    """Return what was explained, such as ``anterior, this part, 843 voxels``."""
    kind = str(target.get("kind", "class"))
    words = TARGETS.get(kind, kind)
    other = target.get("versus")
    if other is not None:
        rather = f"rather than {classes.get(int(other), 'background')}"
        words = rather if kind == "contrast" else f"{words}, {rather}"
    if kind != "class" and target.get("text"):
        words = str(target["text"])
    voxels = target.get("voxels")
    return f"{name} ({words})" if voxels is None else f"{name} ({words}, {voxels} voxels)"


def _class_map(
    run: RunInfo, case: str, path: Any, info: dict[str, Any], titles: Mapping[str, str]
) -> MapView:
    from napari_attnseg.io import read_volume

    value = int(info.get("class") or 0)
    name = run.classes.get(value, f"class {value}")
    known = info.get("method_title") or info.get("method")
    method = titles.get(str(info.get("method")), str(known))
    if path is None:
        reason = info.get("reason")
        missing = f"Nothing was predicted as {name}, so there is no map for it."
        return MapView(case, run, f"{method} {name}", None, info, str(reason or missing))
    layer = str(info.get("layer") or "")
    at = f" @ {layer_words(layer)}" if layer else ""
    mm = cell_words(info.get("stride_mm"))
    where = layer_title(layer, info.get("stride_dhw"), run.spacing_dhw)
    if mm and layer:
        where = f"{layer_words(layer)} (each cell {mm})"
    weights = str(info.get("weights") or "best")
    target = target_words(info.get("target") or {}, name, run.classes)
    parts = [method, target, where, f"run {run.short}, {weights} weights"]
    return MapView(
        case,
        run,
        f"{method} {name}{at} (run {run.short})",
        read_volume(path),
        info,
        caption=", ".join(part for part in parts if part),
        path=Path(path),
    )


def _attention_map(run: RunInfo, case: str, path: str, info: dict[str, Any]) -> MapView:
    from napari_attnseg.io import read_volume

    where = layer_words(str(info.get("layer") or str(info.get("name", "")).partition(".")[0]))
    if info["kind"] == "feature":
        words = f"feature {info.get('channel')}, {where}"
    else:
        way = "attended by" if info.get("direction") == "column" else "attends to"
        words = f"{way}, {where}"
    # The cell that answers is larger than a voxel; its middle may lie in another slice.
    asked = info.get("at") or info.get("voxel_ras")
    return MapView(
        case,
        run,
        f"{words} (run {run.short})",
        read_volume(path),
        info,
        is_signed=info["kind"] == "feature",
        caption=str(info.get("caption") or words),
        path=Path(path),
        marked_ras=None if not asked else (float(asked[0]), float(asked[1]), float(asked[2])),
    )


def _difference(run: RunInfo, case: str, path: str, info: dict[str, Any]) -> MapView:
    from napari_attnseg.io import read_volume

    caption = str(info.get("caption") or "first map less second map")
    return MapView(
        case,
        run,
        "difference of the maps",
        read_volume(path),
        info,
        caption=caption,
        path=Path(path),
    )
