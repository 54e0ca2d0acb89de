"""Parameter randomisation test (Adebayo et al., 2018, arXiv:1810.03292)."""

from __future__ import annotations

from napari_attnseg.explanation.likeness import similarity, spearman
from napari_attnseg.explanation.measure import MEASURES, CheckedMap, Measure, Result, Row, Work
from napari_attnseg.explanation.measure import curve as line
from napari_attnseg.explanation.scramble import Group, groups, scrambled

STILL_ALIKE = 0.5
"""A map of a random network that is so much like this one does not show what was learned."""


@MEASURES.register("randomisation")
class Randomisation(Measure):
    """A map should change when the network forgets: block after block gets random parameters.

    From the output to the input; region and target stay. Rank correlation with the map as it is,
    signed, and structural similarity.
    """

    title = "Forgetting (randomised parameters)"
    better = "lower"

    def windows(self, checked: CheckedMap) -> int:
        return 1 + len(self._order(checked)) * checked.remake_windows

    def steps(self, checked: CheckedMap) -> Work[Result]:
        order = self._order(checked)
        yield
        cells, own = checked.blocks().cells, checked.heat.values
        names, ranks, likes = ["trained"], [1.0], [1.0]
        for name, model in scrambled(checked.subject.model, order, checked.seed):
            again = yield from checked.remake(model, checked.subject.x, checked.subject.region)
            alike = spearman(own.reshape(-1)[cells], again.values.reshape(-1)[cells])
            similar = similarity(own, again.values)
            names.append(name)
            ranks.append(0.0 if alike is None else alike)
            likes.append(0.0 if similar is None else similar)
        titles = ("blocks made random", "likeness to this map")
        xs = range(len(names))
        curves = [
            line(Row("spearman", "rank correlation", ()), xs, ranks, *titles),
            line(Row("ssim", "structural similarity", ()), xs, likes, *titles),
        ]
        for one in curves:
            one["x_labels"] = names
        last = ranks[-1]
        passed = abs(last) <= STILL_ALIKE
        sentence = (
            f"With all parameters random the map's ranks correlate by {last:+.2f} with this one: "
            + (
                "it depends on what was learned."
                if passed
                else "it hardly shows what was learned."
            )
        )
        bars = [{"name": "map", "title": "all random", "value": last, "spread": None}]
        return Result(last, sentence, bars, curves, {"depends_on_parameters": passed})

    def _order(self, checked: CheckedMap) -> list[Group]:
        return groups(checked.subject.model, checked.subject.x, checked.subject.plan)
