"""Where the project's own resources are: icons, examples, constraints."""

from __future__ import annotations

from pathlib import Path

_BESIDE_THE_PACKAGE = Path(__file__).parent.parent / "resources"
_INSIDE_THE_PACKAGE = Path(__file__).parent / "_resources"


def resource(name: str) -> Path:
    """Return the path of a file in ``resources/``, in a checkout or an installed wheel.

    Raises:
        FileNotFoundError: If no such resource exists.
    """
    for folder in (_BESIDE_THE_PACKAGE, _INSIDE_THE_PACKAGE):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"The resource {name!r} is missing; reinstall napari-attnseg.")
