"""Deletion and insertion curves of a map, random maps and the mask (Petsiuk et al., 2018)."""

from __future__ import annotations

import numpy as np

from napari_attnseg.explanation.baseline import baseline
from napari_attnseg.explanation.blocks import area, counts, replacement_curve
from napari_attnseg.explanation.measure import CheckedMap, Result, Work, curve, rows, summarised

STEPS = 20
RANDOMS = 3
BASELINE = "blurred"


def replacement_windows(checked: CheckedMap) -> int:
    """Return how often `replacement` runs the network."""
    scores = len(counts(len(checked.blocks()), STEPS))
    return scores * (2 + RANDOMS) * checked.windows


def replacement(checked: CheckedMap, *, is_insertion: bool) -> Work[Result]:
    """Return areas and curves of replacing the image by its baseline, or the other way round."""
    blocks, image = checked.blocks(), checked.subject.image
    empty = baseline(
        image,
        checked.subject.mask,
        kind=BASELINE,
        stride=checked.heat.stride,
        spacing=checked.spacing,
    )
    images = (empty, image) if is_insertion else (image, empty)
    verb = "shown" if is_insertion else "taken away"
    titles = (f"{verb}, fraction of the voxels", "how sure the network is")
    bars, curves = [], []
    for row in rows(checked, blocks, RANDOMS):
        areas, lines = [], []
        for order in row.orders:
            xs, ys = yield from replacement_curve(blocks, order, images, STEPS, checked.score)
            areas.append(area(xs, ys))
            lines.append((xs, ys))
        bars.append(summarised(row, areas))
        mean = np.mean([ys for _, ys in lines], axis=0)
        curves.append(curve(row, lines[0][0], mean, *titles))
    value, mask, random = (bar["value"] for bar in bars)
    sentence = (
        f"The area under the curve is {value:.3f}; for the mask itself {mask:.3f}, for random "
        f"maps {random:.3f}; {'higher' if is_insertion else 'lower'} is better."
    )
    more = {"baseline": BASELINE, "steps": STEPS, "blocks": len(blocks)}
    return Result(value, sentence, bars, curves, more)
