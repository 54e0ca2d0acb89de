"""What a NIfTI header says about shape, type and place, and how to say it again.

The first 348 or 540 bytes are parsed by nibabel; the judgement on damaged ones is here, since
readers disagree on them and none of them says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import nibabel as nib
import numpy as np

from napari_attnseg.io.format import HeaderError
from napari_attnseg.volume import Grid

Header = nib.Nifti1Header | nib.Nifti2Header

TYPES = {
    2: "uint8",
    4: "int16",
    8: "int32",
    16: "float32",
    64: "float64",
    256: "int8",
    512: "uint16",
    768: "uint32",
    1024: "int64",
    1280: "uint64",
}
_REFUSED_TYPES = {
    1: "single bits",
    32: "complex numbers",
    128: "RGB colours",
    1536: "128-bit floats",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colours",
}
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
_GEOMETRY = (
    "pixdim", "dim_info", "xyzt_units", "toffset", "slice_start", "slice_end", "slice_code",
    "slice_duration", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip

_QFORM_TOLERANCE = 0.01


@dataclass
class Place:
    """Where a header puts its voxels.

    Args:
        affine: 4x4 in RAS mm, the sform where it is coded, else the qform, else NIfTI's default.
        qform: 4x4 in RAS mm, or None where it is not coded or cannot be read.
        sform: 4x4 in RAS mm, or None where it is not coded.
        warnings: What a person should know, as sentences.
    """

    affine: np.ndarray
    qform: np.ndarray | None
    sform: np.ndarray | None
    warnings: list[str] = field(default_factory=list)


def parse(start: bytes) -> Header:
    """Return the header in a file's first 540 bytes (348 do for NIfTI-1).

    Raises:
        HeaderError: If they are not those of a NIfTI-1 or NIfTI-2 volume.
    """
    for order in ("<", ">"):
        size = int(np.frombuffer(start[:4].ljust(4, b"\0"), f"{order}i4")[0])
        if size == 348 and start[344:348] in (b"n+1\0", b"ni1\0") and len(start) >= 348:
            return nib.Nifti1Header(start[:348], endianness=order, check=False)
        if size == 540 and start[4:8] in (b"n+2\0", b"ni2\0") and len(start) >= 540:
            return nib.Nifti2Header(start[:540], endianness=order, check=False)
        if size == 348 and len(start) >= 348:
            raise HeaderError(
                "is not a NIfTI file but at best an Analyze header, which does not say which side "
                "is left; convert it with a program that knows its origin"
            )
    raise HeaderError("is not a NIfTI file by its first bytes; copy it again, or export it again")


def is_pair(header: Header) -> bool:
    """Return whether a header says that its voxels are in a file of their own."""
    return bytes(header["magic"].tobytes()[:2]) == b"ni"


def shape_ijk(header: Header) -> tuple[int, ...]:
    """Return the stored shape, from two to seven axes, the fastest first.

    Raises:
        HeaderError: If the sizes make no volume that this program can hold.
    """
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise HeaderError(f"has a damaged header: it claims {count} axes")
    shape = tuple(int(n) for n in header["dim"][1 : count + 1])
    if min(shape) < 1:
        raise HeaderError(f"holds no voxels: its size is {_times(shape)}")
    if count == 1:
        raise HeaderError("has one axis only; a volume has two to four")
    if math.prod(shape[4:]) > 1:
        raise HeaderError(
            f"has {count} axes ({_times(shape)}); a volume has two to four, so save one "
            "vector component or time course at a time"
        )
    return shape


def stored_type(header: Header) -> np.dtype:
    """Return the type of the stored voxels, with the file's byte order.

    Raises:
        HeaderError: If they are not real numbers of 8 to 64 bits.
    """
    code = int(header["datatype"])
    if code not in TYPES:
        what = _REFUSED_TYPES.get(code, f"an unknown type of data (code {code})")
        raise HeaderError(f"holds {what}; convert it to one number a voxel")
    return np.dtype(TYPES[code]).newbyteorder(header.endianness)


def scaling(header: Header) -> tuple[float, float] | None:
    """Return slope and intercept, or None where voxels stand as they are.

    Raises:
        HeaderError: If a slope stands beside an intercept that is no number.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope) or (slope, intercept) == (1.0, 0.0):
        return None
    if not math.isfinite(intercept):
        raise HeaderError(f"has a damaged header: its intensities are scaled by + {intercept}")
    return slope, intercept


def place(header: Header, shape: tuple[int, ...]) -> Place:
    """Return where a header puts its voxels, as NIfTI prescribes.

    Raises:
        HeaderError: If the form that decides is damaged.
    """
    # Numbers that are no numbers are judged below; numpy need not warn of them first.
    with np.errstate(all="ignore"):
        return _place(header, shape)


def _place(header: Header, shape: tuple[int, ...]) -> Place:
    millimetres = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    header = repaired(header, shape)
    qform = _qform(header) if int(header["qform_code"]) > 0 else None
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    if sform is None and qform is None and int(header["qform_code"]) > 0:
        raise HeaderError("has a damaged header: its qform is not a rotation")
    decides = qform if sform is None else sform
    affine = header.get_base_affine() if decides is None else decides
    found = Place(*(_scaled(one, millimetres) for one in (affine, qform, sform)))  # type: ignore
    if len(shape) == 2 or shape[2] == 1:
        found.affine = _with_third_axis(found.affine)
    found.warnings += _judge(found, header, shape)
    return found


def repaired(header: Header, shape: tuple[int, ...]) -> Header:
    """Return a copy in which what NIfTI leaves open has the value it then stands for."""
    header = header.copy()
    pixdim = header["pixdim"]
    if pixdim[0] not in (-1, 1):
        pixdim[0] = 1
    pixdim[1:4] = np.abs(pixdim[1:4])
    for axis in range(3):
        if pixdim[axis + 1] == 0 and (axis >= len(shape) or shape[axis] == 1):
            pixdim[axis + 1] = 1
    return header


def same_place(header: Header, shape: tuple[int, ...], affine: np.ndarray) -> bool:
    """Return whether a header already puts its voxels where an affine does."""
    return bool(np.allclose(place(header, shape).affine, affine, rtol=1e-6, atol=1e-6))


def copy_place(source: Header, target: Header) -> None:
    """Copy all that bears on space and time, bit by bit where the versions agree."""
    for name in _GEOMETRY:
        target[name] = source[name]


def set_place(header: Header, grid: Grid, code: int = 1) -> None:
    """Put a grid into both forms; into the sform alone where the qform cannot say it.

    A qform has no shear, and near a half turn its three numbers in single precision leave a
    rotation open by 0.0003, which moves the far corner of a large volume.
    """
    header.set_xyzt_units("mm", "sec")
    header.set_sform(grid.affine, code)
    header.set_qform(grid.affine, code)
    told = Grid(grid.shape_dhw, header.get_qform())
    apart = np.linalg.norm(told.corners() - grid.corners(), axis=1).max()
    if apart > _QFORM_TOLERANCE * min(grid.spacing_dhw):
        header["qform_code"] = 0


def _judge(found: Place, header: Header, shape: tuple[int, ...]) -> list[str]:
    """Return warnings about a place; raise if it is none."""
    size = (*shape[:3], 1)[2::-1] if len(shape) > 2 else (1, *shape[::-1])
    try:
        grid = Grid(size, found.affine)  # type: ignore[arg-type]
    except ValueError as error:
        raise HeaderError(f"cannot be placed in space: {str(error).rstrip('.')}") from error
    warnings = []
    if found.sform is None and found.qform is None:
        warnings.append("The file does not say where the volume lies; NIfTI's default is taken.")
    if found.sform is not None and int(header["qform_code"]) > 0:
        how = _disagreement(grid, found.qform)
        if how:
            warnings.append(f"Qform and sform disagree ({how}); the sform is taken.")
    if _is_sheared(found.affine):
        warnings.append("The axes are not at right angles (sheared); some programs refuse that.")
    return warnings


def _disagreement(grid: Grid, qform: np.ndarray | None) -> str | None:
    try:
        return (
            "the qform is damaged"
            if qform is None
            else grid.difference(Grid(grid.shape_dhw, qform))
        )
    except ValueError:
        return "the qform is damaged"


def _is_sheared(affine: np.ndarray) -> bool:
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3)


def _qform(header: Header) -> np.ndarray | None:
    """Return the qform as stored, or None if its numbers are no rotation."""
    quaternion = np.array([float(header[f"quatern_{one}"]) for one in "bcd"])
    norm = float(np.linalg.norm(quaternion))
    if not norm <= 1.01:
        return None
    if norm > 1:
        for one, value in zip("bcd", quaternion / norm, strict=True):
            header[f"quatern_{one}"] = value
    return header.get_qform()


def _with_third_axis(affine: np.ndarray) -> np.ndarray:
    """Give a single slice a thickness where its header left it out."""
    if np.linalg.norm(affine[:3, 2]) > 0 or not np.isfinite(affine).all():
        return affine
    affine = affine.copy()
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-30)
    return affine


def _scaled(affine: np.ndarray | None, millimetres: float) -> np.ndarray | None:
    if affine is None or millimetres == 1:
        return affine
    return np.diag([millimetres, millimetres, millimetres, 1.0]) @ affine


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
