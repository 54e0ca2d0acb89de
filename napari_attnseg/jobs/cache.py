"""The run that a staying child keeps loaded between jobs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_attnseg.inference.run import Run

_FILES = {"best": "weights.safetensors", "last": "last.safetensors"}


class RunCache:
    """Loads a run once and again only when its weights have changed.

    The weights' hash belongs to the key, because a run that learns on or is rolled back keeps its
    folder and must never answer with the weights it had before.
    """

    def __init__(self) -> None:
        self._key: tuple[str, ...] = ()
        self._run: Run | None = None

    def load(self, path: str | Path, *, weights: str = "best", device: str = "auto") -> Run:
        """Return the run in a folder, on a device."""
        from napari_attnseg.inference.run import load_run

        folder = Path(path).resolve()
        key = (str(folder), weights, device, _hash(folder / _FILES.get(weights, weights)))
        if self._run is None or key != self._key:
            # Let go of the old model first: two may not fit into the memory.
            self._run = None
            self._run = load_run(folder, weights=weights, device=device)
            self._key = key
        return self._run

    def forget(self) -> None:
        """Let go of the model, as after running out of memory."""
        self._run = None
        self._key = ()


def _hash(path: Path) -> str:
    if not path.is_file():
        return "missing"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
