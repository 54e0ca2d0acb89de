"""The maps that were made of a case before: found by their records, and taken along."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_attnseg.session.files import read_json
from napari_attnseg.session.maps import layer_words, target_words
from napari_attnseg.session.runs import RunInfo


@dataclass(frozen=True)
class EarlierMap:
    """A map on disk.

    Args:
        path: Its file.
        title: What it is, for a menu.
        is_checked: Whether it was checked as well.
    """

    path: Path
    title: str
    is_checked: bool


def earlier_maps(
    folder: Path, case: str, run: RunInfo, titles: Mapping[str, str]
) -> tuple[EarlierMap, ...]:
    """Return the maps of a case in a folder, the newest first.

    Args:
        folder: Where maps are written.
        case: Name of the case.
        run: The run that was explained.
        titles: Of the methods by name.
    """
    found: list[tuple[float, EarlierMap]] = []
    for record in folder.glob(f"{case}_*.json"):
        info = read_json(record)
        if "method" not in info or not info.get("map") or "verdict" in info:
            continue
        path = folder / str(info["map"])
        # A longer case name may begin with this one.
        if not path.is_file() or not record.stem.startswith(f"{case}_{info['method']}"):
            continue
        name = run.classes.get(int(info.get("class") or 0), "background")
        parts = [
            titles.get(str(info["method"]), str(info["method"])),
            target_words({**(info.get("target") or {}), "voxels": None}, name, run.classes),
            layer_words(str(info.get("layer") or "")),
        ]
        is_checked = record.with_name(f"{record.stem}_check.json").is_file()
        title = " · ".join(part for part in parts if part)
        found.append((path.stat().st_mtime, EarlierMap(path, title, is_checked)))
    found.sort(key=lambda one: -one[0])
    return tuple(one for _, one in found)


def copy_map(path: Path, folder: Path) -> list[Path]:
    """Copy a map with its record and its check into a folder.

    Raises:
        ValueError: If one of these files is there already.
    """
    stem = path.name.removesuffix(".nii.gz")
    names = [path.name, f"{stem}.json", f"{stem}_check.json"]
    files = [path.with_name(name) for name in names if path.with_name(name).is_file()]
    for file in files:
        if (folder / file.name).exists():
            raise ValueError(
                f"{file.name} is in {folder} already; choose another folder, or move it away."
            )
    return [Path(shutil.copy2(file, folder / file.name)) for file in files]
