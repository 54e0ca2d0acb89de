"""ROAD (Rong et al., 2022, arXiv:2202.00449) in 3-D, beside random maps and the mask."""

from __future__ import annotations

from napari_attnseg.explanation.measure import MEASURES, CheckedMap, Measure, Result, Work, rows
from napari_attnseg.explanation.remove import FULL, QUICK, fractions_of, road_rows

RANDOMS = {"quick": 4, "full": 6}
"""How many random maps are filled in; the fewer, the wider the margin that a map must pass."""


@MEASURES.register("road")
class Road(Measure):
    """Filling in what the map marks should cost more certainty than filling in what it leaves.

    ``(L - M) / 2``: the score after filling in the last fractions of the map's order, less that
    after the first ones, mean over fractions; positive is faithful, random maps are near 0. The
    fractions go from half the structure's share of what the network sees up to one half.
    """

    title = "Fill in (ROAD)"
    forms = ("quick", "full")

    def windows(self, checked: CheckedMap) -> int:
        return 2 * _count(checked) * (2 + RANDOMS[checked.form]) * checked.windows

    def steps(self, checked: CheckedMap) -> Work[Result]:
        blocks = checked.blocks()
        found = rows(checked, blocks, RANDOMS[checked.form])
        fractions = fractions_of(checked, blocks, _count(checked))
        bars, curves = yield from road_rows(checked, blocks, found, fractions)
        value, mask = bars[0]["value"], bars[1]["value"]
        sentence = (
            f"What the map marks matters by {value:+.3f} to the network's certainty; what the "
            f"mask itself marks by {mask:+.3f}, and what random maps mark by "
            f"{bars[2]['value']:+.3f}."
        )
        return Result(
            value, sentence, bars, curves, {"blocks": len(blocks), "fractions": list(fractions)}
        )


def _count(checked: CheckedMap) -> int:
    return FULL if checked.is_full else QUICK
