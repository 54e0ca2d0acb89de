"""How well two label maps agree on overlapping regions."""

from __future__ import annotations

import numpy as np

from napari_attnseg.io.regions import Regions
from napari_attnseg.metrics import Overlap


def region_overlap(
    prediction: np.ndarray, reference: np.ndarray, regions: Regions
) -> dict[str, Overlap]:
    """Return the counted voxels, and with them the Dice and IoU, of each region by its name.

    Args:
        prediction: Class values, ``(D, H, W)``.
        reference: Class values, same shape.
        regions: Which values make up which region.
    """
    found = {}
    for name, values in regions:
        first, second = (np.isin(one, sorted(values)) for one in (prediction, reference))
        found[name] = Overlap(int(first.sum()), int(second.sum()), int((first & second).sum()))
    return found
