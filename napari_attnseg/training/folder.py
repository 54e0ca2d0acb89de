"""The files that a training writes into its run's folder, none of them ever half."""

from __future__ import annotations

import errno
import io
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.inference.run import save_weights_atomic, write_json_atomic
from napari_attnseg.io import atomic_write
from napari_attnseg.training.cases import TrainingError
from napari_attnseg.training.reports import Report, StepReport, ValidationReport

logger = logging.getLogger(__name__)

RESUME = "resume.pt"
METRICS = "metrics.jsonl"
STEPS_A_LINE = 10
"""Every so many steps one is written into the metrics."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder.

    Args:
        path: Where it is.
    """

    path: Path

    @property
    def cache(self) -> Path:
        """Return where cases are kept that do not fit into memory."""
        return self.path / "cache"

    def save_weights(self, name: str, weights: Mapping[str, Tensor]) -> Path:
        """Write ``weights.safetensors`` (best) or ``last.safetensors``."""
        path = self.path / f"{name}.safetensors"
        with _told_plainly(path):
            save_weights_atomic(path, weights)
        return path

    def save_resume(self, state: Mapping[str, Any]) -> Path:
        """Write all that a resumed training needs."""
        # In memory first: PyTorch reports a full disk as an error of its own zip writer.
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        return self._write(RESUME, buffer.getvalue())

    def load_resume(self) -> dict[str, Any] | None:
        """Return what `save_resume` wrote, or None if there is nothing.

        Raises:
            TrainingError: If the file is damaged.
        """
        path = self.path / RESUME
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise TrainingError(
                f"The file {RESUME} of run {self.path.name} is damaged, so the run cannot be "
                "resumed. Its weights are kept; start a new training from this run instead."
            ) from error
        return state

    def save_result(self, document: Mapping[str, Any]) -> None:
        """Write ``result.json``."""
        with _told_plainly(self.path / "result.json"):
            write_json_atomic(self.path / "result.json", dict(document))

    def save_text(self, name: str, text: str) -> None:
        """Write a text file."""
        self._write(name, text.encode())

    def save_preview(self, arrays: Mapping[str, np.ndarray]) -> Path:
        """Write the slice that shows how well the network does."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
        return self._write("preview.npz", buffer.getvalue())

    def note(self, report: Report) -> None:
        """Append a report to the metrics, if it belongs there."""
        if isinstance(report, StepReport):
            is_noted = report.step % STEPS_A_LINE == 1
        else:
            is_noted = isinstance(report, ValidationReport)
        if is_noted:
            self._append(METRICS, json.dumps(report.to_event()))

    def log(self, text: str) -> None:
        """Append a line to the log."""
        logger.info("%s", text)
        self._append("log.txt", text)

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that will be made again."""
        path = self.path / METRICS
        if not path.exists():
            return
        kept: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = _parsed(line)
            if entry is None or entry.get("step", 0) > step:
                break
            kept.append(line)
        self._write(METRICS, "".join(f"{line}\n" for line in kept).encode())

    def clean(self) -> None:
        """Remove what is only needed while training."""
        shutil.rmtree(self.cache, ignore_errors=True)

    def _append(self, name: str, line: str) -> None:
        path = self.path / name
        with _told_plainly(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def _write(self, name: str, data: bytes) -> Path:
        path = self.path / name
        with _told_plainly(path), atomic_write(path) as file:
            file.write(data)
        return path


@contextmanager
def _told_plainly(path: Path) -> Iterator[None]:
    """Turn what the system says about a file that cannot be written into a sentence.

    Raises:
        TrainingError: In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = "the disk is full. Free some space"
        else:
            why = f"the system says: {error.strerror or error}. Check the folder"
        raise TrainingError(
            f"Could not write {path.name} of run {path.parent.name}: {why}, then resume the run. "
            "What was saved before is kept."
        ) from error


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None
