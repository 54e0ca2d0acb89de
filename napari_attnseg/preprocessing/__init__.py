"""From a volume as it is stored to what a network sees, and exactly back.

A `Fingerprint` says what a cohort is like, a `Plan` what follows from it. `preprocess` and
`preprocess_label` bring volumes onto the network's grid; `restore_labels` and `restore_scalar`
bring results back onto the grid of the input.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_WHERE = {
    "Fingerprint": "fingerprint",
    "Plan": "plan",
    "make_plan": "plan",
    "network_grid": "pipeline",
    "preprocess": "pipeline",
    "preprocess_label": "pipeline",
    "restore_labels": "restore",
    "restore_probabilities": "restore",
    "restore_scalar": "restore",
    "unlike": "likeness",
}

__all__ = list(_WHERE)

if TYPE_CHECKING:
    from napari_attnseg.preprocessing.fingerprint import Fingerprint as Fingerprint
    from napari_attnseg.preprocessing.likeness import unlike as unlike
    from napari_attnseg.preprocessing.pipeline import network_grid as network_grid
    from napari_attnseg.preprocessing.pipeline import preprocess as preprocess
    from napari_attnseg.preprocessing.pipeline import preprocess_label as preprocess_label
    from napari_attnseg.preprocessing.plan import Plan as Plan
    from napari_attnseg.preprocessing.plan import make_plan as make_plan
    from napari_attnseg.preprocessing.restore import restore_labels as restore_labels
    from napari_attnseg.preprocessing.restore import (
        restore_probabilities as restore_probabilities,
    )
    from napari_attnseg.preprocessing.restore import restore_scalar as restore_scalar


def __getattr__(name: str) -> Any:
    # Restoring needs torch; describing and planning do not, and should not pay for it.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
