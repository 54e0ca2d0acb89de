"""What the metadata of an OME-Zarr folder say about axes and place, and how to say it again.

See https://ngff.openmicroscopy.org (0.4 and 0.5): axes with units, and a scale and a translation
for each. They do not say which side is left: where no anatomical orientation is given (RFC-4), LPS
is taken, as ITK's readers do. The whole affine of a volume written here stands beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_attnseg.io.format import HeaderError
from napari_attnseg.io.header_text import checked_place
from napari_attnseg.volume import Volume, affine_for_itk

OWN = "napari_attnseg"
_MM = {
    "millimeter": 1.0, "micrometer": 1e-3, "nanometer": 1e-6, "angstrom": 1e-7, "meter": 1e3,
    "centimeter": 10.0, "mm": 1.0, "um": 1e-3, "nm": 1e-6,
}  # fmt: skip
_LPS = {"x": 0, "y": 1, "z": 2}
_SIDES = {
    "right-to-left": (0, 1), "left-to-right": (0, -1), "anterior-to-posterior": (1, 1),
    "posterior-to-anterior": (1, -1), "inferior-to-superior": (2, 1),
    "superior-to-inferior": (2, -1),
}  # fmt: skip
_UNPLACED = "The folder does not say which side is left; LPS is taken, as ITK does."
_UNSIZED = "The folder does not say how large its voxels are; 1 mm is taken."


@dataclass
class Layout:
    """Which array of a Zarr folder is the volume, and where it lies.

    Args:
        array: Path of the array in the folder.
        spatial: Its axes of space, which are D, H and W in this order.
        affine: 4x4 in RAS mm.
        warnings: What a person should know.
    """

    array: str
    spatial: tuple[int, ...]
    affine: np.ndarray
    warnings: list[str] = field(default_factory=list)


def first_array(attributes: Mapping[str, Any]) -> str | None:
    """Return the path of the array of full resolution, or None where nothing names one."""
    images = _multiscales(attributes)
    if not images:
        return None
    path = _get(_get(_get(images, 0), "datasets", 0), "path")
    if not isinstance(path, str) or ".." in path.split("/") or path.startswith("/"):
        raise HeaderError("has damaged metadata: its first array has no name")
    return path


def layout(attributes: Mapping[str, Any], array: str, shape: Sequence[int]) -> Layout:
    """Return how the axes of an array lie in space.

    Raises:
        HeaderError: If the metadata are damaged, or the axes are not those of one volume.
    """
    image = _get(_multiscales(attributes) or [{}], 0)
    axes = _axes(image, len(shape))
    spatial = tuple(at for at, one in enumerate(axes) if one["type"] == "space")
    others = [size for at, size in enumerate(shape) if at not in spatial and size > 1]
    if not 2 <= len(spatial) <= 3 or len(others) > 1:
        raise HeaderError(
            f"has {len(spatial)} axes in space and {len(others)} others; a volume has two or "
            "three in space and at most one other"
        )
    warnings: list[str] = []
    scale, start = _scale_and_start(image, len(shape), warnings)
    affine = _affine([axes[at] for at in spatial], scale[list(spatial)], start[list(spatial)])
    own = attributes.get(OWN)
    if isinstance(own, Mapping) and "affine_ras" in own:
        return Layout(array, spatial, _own_affine(own["affine_ras"], affine, warnings), warnings)
    if not all(_side(axes[at]) for at in spatial):
        warnings.append(_UNPLACED)
    return Layout(array, spatial, affine, warnings)


def attributes_of(volume: Volume, chunk_axes: int) -> dict[str, Any]:
    """Return the metadata of a volume, version 0.4.

    Args:
        volume: What is written.
        chunk_axes: How many axes the array has: three, or four with channels first.
    """
    affine = affine_for_itk(volume.affine)
    names = ["c", "z", "y", "x"][-chunk_axes:]
    steps = [float(mm) for mm in volume.spacing_dhw]
    start = [float(mm) for mm in affine[2::-1, 3]]
    more = chunk_axes - 3
    axes = [
        {"name": name, "type": "channel"}
        if name == "c"
        else {"name": name, "type": "space", "unit": "millimeter"}
        for name in names
    ]
    transforms = [
        {"type": "scale", "scale": [1.0] * more + steps},
        {"type": "translation", "translation": [0.0] * more + start},
    ]
    return {
        "multiscales": [
            {
                "version": "0.4",
                "name": "volume",
                "axes": axes,
                "datasets": [{"path": "0", "coordinateTransformations": transforms}],
            }
        ],
        OWN: {
            "affine_ras": volume.affine.tolist(),
            "ndim": volume.storage.ndim if volume.storage else 3,
            "classes": {str(value): name for value, name in volume.classes.items()},
            "channels": list(volume.channels),
        },
    }


def own_names(attributes: Mapping[str, Any]) -> tuple[dict[int, str], tuple[str, ...], int]:
    """Return names of classes, names of channels, and the stored number of dimensions."""
    own = attributes.get(OWN)
    own = own if isinstance(own, Mapping) else {}
    given = own.get("classes")
    pairs = given.items() if isinstance(given, Mapping) else ()
    classes = {int(one): str(name) for one, name in pairs if str(one).isdecimal()}
    channels = own.get("channels")
    names = tuple(map(str, channels)) if isinstance(channels, list) else ()
    ndim = own.get("ndim")
    return classes, names, ndim if ndim in (2, 3, 4) else 3


def _multiscales(attributes: Mapping[str, Any]) -> list[Any]:
    ome = attributes.get("ome")
    holder = ome if isinstance(ome, Mapping) else attributes
    found = holder.get("multiscales")
    return found if isinstance(found, list) else []


def _axes(image: Any, count: int) -> list[dict[str, Any]]:
    given = _get(image, "axes") if isinstance(image, Mapping) and "axes" in image else None
    if given is None:
        # Before 0.3 there were no names, and five axes.
        given = ["t", "c", "z", "y", "x"][-count:]
    if not isinstance(given, list) or len(given) != count:
        raise HeaderError(f"has damaged metadata: its array has {count} axes, and not as named")
    axes = []
    for one in given:
        one = one if isinstance(one, Mapping) else {"name": one}
        name = str(one.get("name", ""))
        kinds = {"t": "time", "c": "channel", "x": "space", "y": "space", "z": "space"}
        axes.append({**one, "name": name, "type": one.get("type") or kinds.get(name, "other")})
    return axes


def _scale_and_start(image: Any, count: int, warnings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the step and the first position along each axis, those of the image included."""
    scale, start = np.ones(count), np.zeros(count)
    datasets = image.get("datasets") if isinstance(image, Mapping) else None
    first = _get(datasets, 0) if datasets else {}
    steps = [*_transforms(first), *_transforms(image)]
    if not any(one.get("type") == "scale" for one in steps):
        warnings.append(_UNSIZED)
    for one in steps:
        if one.get("type") == "scale":
            factor = _numbers(one.get("scale"), count)
            scale, start = scale * factor, start * factor
        elif one.get("type") == "translation":
            start = start + _numbers(one.get("translation"), count)
        elif one.get("type") != "identity":
            raise HeaderError("is placed in a way that is not known; save it with scale and shift")
    return scale, start


def _transforms(holder: Any) -> list[Mapping[str, Any]]:
    found = holder.get("coordinateTransformations") if isinstance(holder, Mapping) else None
    found = found or []
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise HeaderError("has damaged metadata: its transformations are none")
    return found


def _numbers(given: Any, count: int) -> np.ndarray:
    try:
        found = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array(math.nan)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise HeaderError(f"has damaged metadata: a scale or shift is not {count} numbers")
    return found


def _affine(axes: list[dict[str, Any]], scale: np.ndarray, start: np.ndarray) -> np.ndarray:
    if (scale <= 0).any():
        raise HeaderError("has damaged metadata: the size of a voxel is not above 0")
    lps = np.zeros((4, 4))
    lps[3, 3] = 1
    free = [2, 1, 0][-len(axes) :]
    taken = []
    for at, (one, step, first) in enumerate(zip(axes, scale, start, strict=True)):
        unit = _MM.get(str(one.get("unit", "millimeter")).lower(), 1.0)
        world, sign = _side(one) or (_LPS.get(one["name"], free[at]), 1)
        column = len(axes) - 1 - at
        with np.errstate(over="ignore"):
            lps[world, column], lps[world, 3] = sign * step * unit, sign * first * unit
        taken.append(world)
    if len(axes) == 2:
        lps[({0, 1, 2} - set(taken)).pop(), 2] = 1
    return checked_place(affine_for_itk(lps))


def _side(axis: Mapping[str, Any]) -> tuple[int, int] | None:
    told = axis.get("anatomicalOrientation") or axis.get("orientation")
    value = told.get("value") if isinstance(told, Mapping) else told
    return _SIDES.get(str(value).lower())


def _own_affine(given: Any, told: np.ndarray, warnings: list[str]) -> np.ndarray:
    """Return the affine that was written, unless another program has changed the voxels' size."""
    try:
        affine = checked_place(np.array(given, dtype=np.float64).reshape(4, 4))
    except (TypeError, ValueError, OverflowError) as error:
        raise HeaderError("has damaged metadata: its affine is none") from error
    mine, theirs = (np.linalg.norm(one[:3, :3], axis=0) for one in (affine, told))
    if np.allclose(mine, theirs, rtol=1e-3):
        return affine
    warnings.append("The affine and the scale disagree on the size of voxels; the scale is taken.")
    return told


def _get(holder: Any, *keys: Any) -> Any:
    for key in keys:
        try:
            holder = holder[key]
        except (KeyError, IndexError, TypeError) as error:
            raise HeaderError(f"has damaged metadata: {str(key)[:40]!r} is missing") from error
    return holder
