"""Comparison of trained networks: mean scores, and whether attention helped, case by case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

CaseDice = Mapping[str, Mapping[int, float | None]]
"""Dice by case and class value; None where a class is in neither mask."""

BASELINE = "none"
"""The attention that the others are tested against."""


@dataclass(frozen=True)
class Trial:
    """One trained network with its scores.

    Args:
        backbone: Registered name.
        attention: Registered name.
        loss: Registered name.
        seed: Of weights, patches and augmentation.
        parameters: Trainable weights.
        seconds: Wall time of the training.
        cases: Dice on the validation cases.
        run: Where the run is.
    """

    backbone: str
    attention: str
    loss: str
    seed: int
    parameters: int
    seconds: float
    cases: CaseDice
    run: str = ""

    @property
    def choice(self) -> tuple[str, str, str]:
        """Return what trials of one row of the table share."""
        return self.backbone, self.attention, self.loss


@dataclass(frozen=True)
class PairedTest:
    """Wilcoxon's signed-rank test of the differences between two networks on the same cases.

    Args:
        against: Attention of the other network, which has the same backbone and loss.
        seeds: Seeds that both networks were trained with; a case's score is its mean over them.
        cases: Number of cases, n.
        better: Cases with a higher score than the other network's.
        worse: Cases with a lower one.
        difference: Mean of the differences of the cases' mean Dice.
        p: Two-sided; 1 where all differences are zero, None without cases.
        p_holm: Corrected for all tests of the table after Holm (1979).
    """

    against: str
    seeds: tuple[int, ...]
    cases: int
    better: int
    worse: int
    difference: float | None
    p: float | None
    p_holm: float | None = None


@dataclass(frozen=True)
class Row:
    """One network of the table, over all its seeds.

    Args:
        backbone: Registered name.
        attention: Registered name.
        loss: Registered name.
        seeds: Seeds that it was trained with.
        runs: Where the runs are, in the order of the seeds.
        parameters: Trainable weights.
        seconds: Mean wall time of the trainings.
        means: Mean Dice by class value, over cases and seeds.
        dice: Mean over the classes.
        spread: Standard deviation of that mean between seeds; None with one seed.
        test: Against the same backbone without attention; None for that itself, and where it was
            not trained.
    """

    backbone: str
    attention: str
    loss: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    parameters: int
    seconds: float
    means: Mapping[int, float | None]
    dice: float | None
    spread: float | None
    test: PairedTest | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON-ready values, with class values as text."""
        values = {**vars(self), "means": {str(key): one for key, one in self.means.items()}}
        values |= {"seeds": list(self.seeds), "runs": list(self.runs)}
        if self.test is not None:
            values["test"] = {**vars(self.test), "seeds": list(self.test.seeds)}
        return values


def compare_trials(trials: Sequence[Trial]) -> list[Row]:
    """Return one row for each network, in the order in which they first occur.

    Each attention is tested against the same backbone with the same loss and without attention:
    the score of a case is its mean Dice over classes and over the seeds that both have.
    """
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.choice, []).append(trial)
    tests = {
        choice: paired_test(group, groups[choice[0], BASELINE, choice[2]])
        for choice, group in groups.items()
        if choice[1] != BASELINE and (choice[0], BASELINE, choice[2]) in groups
    }
    corrected = holm({choice: one.p for choice, one in tests.items() if one.p is not None})
    return [
        _row(group, _corrected(tests.get(choice), corrected.get(choice)))
        for choice, group in groups.items()
    ]


def paired_test(trials: Sequence[Trial], others: Sequence[Trial]) -> PairedTest:
    """Test whether two networks score differently on the same cases.

    Args:
        trials: Of one network, with different seeds.
        others: Of the other.
    """
    seeds = sorted({one.seed for one in trials} & {one.seed for one in others})
    mine, theirs = _case_scores(trials, seeds), _case_scores(others, seeds)
    differences = [mine[name] - theirs[name] for name in mine if name in theirs]
    return PairedTest(
        against=others[0].attention,
        seeds=tuple(seeds),
        cases=len(differences),
        better=sum(one > 0 for one in differences),
        worse=sum(one < 0 for one in differences),
        difference=fmean(differences) if differences else None,
        p=signed_rank_p(differences),
    )


def signed_rank_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of Wilcoxon's signed-rank test (1945); zeros are left out.

    Exact for up to 50 differences without ties, else from the normal approximation.
    """
    if not differences:
        return None
    if not any(differences):
        return 1.0
    from scipy.stats import wilcoxon

    found = [one for one in differences if one != 0]
    has_ties = len({abs(one) for one in found}) < len(found)
    method = "exact" if len(found) <= 50 and not has_ties else "approx"
    return float(wilcoxon(found, method=method).pvalue)


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Return p values corrected for their number (Holm 1979, step-down)."""
    corrected: dict[Any, float] = {}
    highest = 0.0
    for done, key in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        highest = max(highest, min(1.0, (len(p_values) - done) * p_values[key]))
        corrected[key] = highest
    return corrected


def case_score(dice: Mapping[int, float | None]) -> float | None:
    """Return the mean Dice of a case over the classes that it has."""
    return _mean(dice.values())


def _case_scores(trials: Sequence[Trial], seeds: Sequence[int]) -> dict[str, float]:
    """Return the mean over seeds of each case that has a score with all of them."""
    scores: dict[str, list[float | None]] = {}
    for trial in trials:
        if trial.seed in seeds:
            for name, dice in trial.cases.items():
                scores.setdefault(name, []).append(case_score(dice))
    complete = {
        name: [one for one in found if one is not None]
        for name, found in scores.items()
        if len(found) == len(seeds)
    }
    return {name: fmean(one) for name, one in complete.items() if len(one) == len(seeds)}


def _row(trials: list[Trial], test: PairedTest | None) -> Row:
    trials = sorted(trials, key=lambda one: one.seed)
    by_seed = [_class_means(one.cases) for one in trials]
    values = sorted({value for means in by_seed for value in means})
    means = {value: _mean(one.get(value) for one in by_seed) for value in values}
    overall = [mean for mean in (_mean(one.values()) for one in by_seed) if mean is not None]
    first = trials[0]
    return Row(
        *first.choice,
        seeds=tuple(one.seed for one in trials),
        runs=tuple(one.run for one in trials),
        parameters=first.parameters,
        seconds=fmean(one.seconds for one in trials),
        means=means,
        dice=_mean(means.values()),
        spread=stdev(overall) if len(overall) > 1 else None,
        test=test,
    )


def _class_means(cases: CaseDice) -> dict[int, float | None]:
    values = {value for dice in cases.values() for value in dice}
    return {value: _mean(dice.get(value) for dice in cases.values()) for value in values}


def _corrected(test: PairedTest | None, p_holm: float | None) -> PairedTest | None:
    return None if test is None else PairedTest(**{**vars(test), "p_holm": p_holm})


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [one for one in numbers if one is not None]
    return fmean(known) if known else None
