"""Two runs on the same cases: the difference of each case, and whether it is more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from napari_attnseg.session.runs import RunInfo

CaseDice = Mapping[str, Mapping[int, float | None]]
FEWEST = 6
"""Cases below which no difference could be told from chance at 5 %."""


@dataclass(frozen=True)
class RunComparison:
    """How one run differs from another, case by case.

    Args:
        run: The run that is looked at.
        other: The run it is compared with.
        differences: Dice of the first less that of the second, by case and class value, where
            both have one.
        missing: Cases that the other run has no score for.
        p: Of Wilcoxon's signed-rank test of the cases' mean differences; None without cases.
    """

    run: RunInfo
    other: RunInfo
    differences: dict[str, dict[int, float]]
    missing: tuple[str, ...] = ()
    p: float | None = None

    def mean(self, case: str) -> float | None:
        """Return a case's mean difference over the classes, or None."""
        found = list(self.differences.get(case, {}).values())
        return sum(found) / len(found) if found else None

    def words(self) -> str:
        """Return the comparison in a sentence or two."""
        means = [mean for mean in map(self.mean, self.differences) if mean is not None]
        if not means:
            return (
                f"Run {self.other.short} has no scores for these cases yet: choose it above and "
                "compare it with labels first."
            )
        better, worse = sum(mean > 0 for mean in means), sum(mean < 0 for mean in means)
        words = (
            f"Against run {self.other.short}: mean difference {sum(means) / len(means):+.3f} "
            f"Dice, better in {better} of {len(means)} cases, worse in {worse}"
        )
        words += chance_words(self.p, len(means))
        if self.missing:
            words += f" {len(self.missing)} of the cases have no score there."
        return words


def chance_words(p: float | None, cases: int) -> str:
    """Return what a paired test says, in words."""
    if p is None or cases < FEWEST:
        return ". Too few cases to tell it from chance."
    if p < 0.05:
        return f"; hardly by chance (p = {p:.2g}, Wilcoxon)."
    return f"; could be chance (p = {p:.2g}, Wilcoxon)."


def compare_runs(run: RunInfo, mine: CaseDice, other: RunInfo, theirs: CaseDice) -> RunComparison:
    """Return the differences between two runs on the cases of the first.

    Args:
        run: The run that is looked at.
        mine: Its Dice by case and class value; None where a class is in neither mask.
        other: The run it is compared with.
        theirs: Its Dice.
    """
    from napari_attnseg.evaluation.compare import signed_rank_p

    differences: dict[str, dict[int, float]] = {}
    for case, dice in mine.items():
        there = theirs.get(case, {})
        found = {
            value: one - other_one
            for value, one in dice.items()
            if one is not None and (other_one := there.get(value)) is not None
        }
        if found:
            differences[case] = found
    missing = tuple(case for case in mine if case not in theirs)
    made = RunComparison(run, other, differences, missing)
    means = [mean for mean in map(made.mean, differences) if mean is not None]
    return RunComparison(run, other, differences, missing, signed_rank_p(means))
