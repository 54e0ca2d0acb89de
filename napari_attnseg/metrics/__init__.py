"""How well label maps agree."""

from __future__ import annotations

from napari_attnseg.metrics.overlap import Overlap, joint_histogram, overlap

__all__ = ["Overlap", "joint_histogram", "overlap"]
