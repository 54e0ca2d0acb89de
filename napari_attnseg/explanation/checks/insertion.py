"""Insertion (Petsiuk et al., 2018, arXiv:1806.07421), for a segmented region."""

from __future__ import annotations

from napari_attnseg.explanation.measure import MEASURES, CheckedMap, Measure, Result, Work
from napari_attnseg.explanation.replace import replacement, replacement_windows


@MEASURES.register("insertion")
class Insertion(Measure):
    """How fast certainty rises when a blurred image gets back what the map marks."""

    title = "Bring back (insertion)"

    def windows(self, checked: CheckedMap) -> int:
        return replacement_windows(checked)

    def steps(self, checked: CheckedMap) -> Work[Result]:
        return (yield from replacement(checked, is_insertion=True))
