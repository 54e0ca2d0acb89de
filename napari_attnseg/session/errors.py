"""Where a prediction differs from the label: what it missed and what it invented."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_attnseg.volume import Volume

MISSED, INVENTED = 1, 2
"""Values of an error map: in the label only, and in the prediction only."""


@dataclass(frozen=True, eq=False)
class Errors:
    """The errors of one class in one case.

    Args:
        values: uint8 ``(D, H, W)`` of `MISSED`, `INVENTED` and 0.
        missed_ml: Volume that was missed.
        invented_ml: Volume that was invented.
    """

    values: np.ndarray
    missed_ml: float
    invented_ml: float


def class_errors(prediction: Volume, reference: Volume, value: int) -> Errors:
    """Return where a class was missed or invented.

    Args:
        prediction: Label values.
        reference: Label values on the same grid.
        value: Of the class.
    """
    predicted, real = prediction.data[0] == value, reference.data[0] == value
    values = np.zeros(real.shape, dtype=np.uint8)
    values[predicted & ~real] = INVENTED
    values[real & ~predicted] = MISSED
    millilitres = reference.grid.voxel_volume_ml
    missed, invented = (int((values == kind).sum()) for kind in (MISSED, INVENTED))
    return Errors(values, missed * millilitres, invented * millilitres)
