"""Write maps and their records."""

from __future__ import annotations

from pathlib import Path

from napari_attnseg.explanation.attention import AttentionResult
from napari_attnseg.explanation.contract import ExplainError
from napari_attnseg.explanation.explain import Explanation
from napari_attnseg.inference import write_json_atomic
from napari_attnseg.io import write_volume


def map_files(
    out: str | Path, stem: str, method: str, value: int, layer: str, tag: str = ""
) -> tuple[Path, Path]:
    """Return where the map of a class and its record are written.

    Args:
        out: Folder.
        stem: Name of the explained case.
        method: One of the methods.
        value: Class value.
        layer: Name of the layer.
        tag: What tells this map from that of the whole class with default options.
    """
    name = f"{stem}_{method}_{value}_{layer}{f'_{tag}' if tag else ''}"
    return Path(out) / f"{name}.nii.gz", Path(out) / f"{name}.json"


def attention_record(out: str | Path, stem: str) -> Path:
    """Return where it is written what attention did."""
    return Path(out) / f"{stem}_attention.json"


def write_explanation(
    out: str | Path, stem: str, explanation: Explanation, *, overwrite: bool = False
) -> tuple[Path | None, Path]:
    """Write ``<stem>_<method>_<class value>_<layer>.nii.gz`` and a ``.json`` of the same name.

    Targets other than the whole class, and options, add ``_<tag>`` to the name.
    Where there is no map, only the record is written, with ``"map": null`` and the reason.

    Args:
        out: Folder, made if it is not there.
        stem: Name of the explained case.
        explanation: What to write.
        overwrite: Whether files of these names may be replaced.

    Returns:
        The map's path, or None, and the record's.

    Raises:
        ExplainError: If a file is there already.
    """
    info = explanation.info
    file, record = map_files(out, stem, info["method"], info["class"], info["layer"], info["tag"])
    _check_free([record, file], overwrite)
    if explanation.map is None:
        file.unlink(missing_ok=True)  # of an earlier run, which this record would contradict
        return None, write_json_atomic(record, {**info, "map": None})
    write_volume(file, explanation.map)
    return file, write_json_atomic(record, {**info, "map": file.name})


def write_attention(
    out: str | Path, stem: str, result: AttentionResult, *, overwrite: bool = False
) -> tuple[dict[str, Path], Path]:
    """Write ``<stem>_attention_<module>.nii.gz`` for each volume, and ``<stem>_attention.json``.

    Args:
        out: Folder, made if it is not there.
        stem: Name of the case.
        result: What to write.
        overwrite: Whether files of these names may be replaced.

    Returns:
        The volumes' paths by module, and the record's.

    Raises:
        ExplainError: If a file is there already.
    """
    record = attention_record(out, stem)
    files = {name: Path(out) / f"{stem}_attention_{name}.nii.gz" for name in result.volumes}
    _check_free([record, *files.values()], overwrite)
    for name, file in files.items():
        write_volume(file, result.volumes[name])
    maps = {
        name: {**about, "file": files[name].name} for name, about in result.info["maps"].items()
    }
    return files, write_json_atomic(record, {**result.info, "maps": maps})


def _check_free(files: list[Path], overwrite: bool) -> None:
    there = [file for file in files if file.exists()]
    if there and not overwrite:
        raise ExplainError(
            f"{there[0]} is there already; choose another folder, or allow overwriting."
        )
