"""Which context is used: removal outside the structure only (cf. Hoyer et al., 2019)."""

from __future__ import annotations

from napari_attnseg.explanation.blocks import descending
from napari_attnseg.explanation.measure import MEASURES, CheckedMap, Measure, Result, Row, Work
from napari_attnseg.explanation.remove import road_rows

RANDOMS = 3
FRACTIONS = (0.1, 0.2, 0.35, 0.5)
VOXELS_AROUND = 2.0
"""The structure is widened by this many voxels, of the coarsest axis, before it is left alone."""


@MEASURES.register("context")
class Context(Measure):
    """Does the map show which surroundings the network uses? The structure itself stays.

    As ROAD, but only voxels outside the widened structure are filled in: inside it, taking out
    what is to be segmented says little about a map.
    """

    title = "Surroundings"

    def windows(self, checked: CheckedMap) -> int:
        return 2 * len(FRACTIONS) * (2 + RANDOMS) * checked.windows

    def steps(self, checked: CheckedMap) -> Work[Result]:
        distance = checked.millimetres_outside()
        margin = VOXELS_AROUND * max(checked.spacing)
        blocks = checked.blocks(distance > margin)
        if len(blocks) < 2:
            return Result(None, "The structure fills what the network sees; there is no context.")
        rng = checked.rng()
        found = [
            Row("map", "this map", [descending(blocks.values(checked.heat), rng)]),
            Row("nearest", "nearest first", [descending(-blocks.means(distance), rng)]),
            Row("random", "random maps", [rng.permutation(len(blocks)) for _ in range(RANDOMS)]),
        ]
        bars, curves = yield from road_rows(checked, blocks, found, FRACTIONS)
        value = bars[0]["value"]
        sentence = (
            f"Around the structure, what the map marks matters by {value:+.3f}; what lies nearest "
            f"by {bars[1]['value']:+.3f}, and random places by {bars[2]['value']:+.3f}."
        )
        more = {"blocks": len(blocks), "margin_mm": margin}
        return Result(value, sentence, bars, curves, more)
