"""Pair predictions with references and score them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_attnseg.evaluation.region_scores import as_classes, region_scores
from napari_attnseg.evaluation.scores import CaseScore, ClassScore, Evaluation
from napari_attnseg.io import VolumeError, known_suffix, read_volume, stem, values_in
from napari_attnseg.io.regions import Regions
from napari_attnseg.metrics import overlap
from napari_attnseg.volume import Volume, require_same_grid

Source = Volume | str | Path

_BESIDE_A_MASK = ("_probabilities", "_uncertainty")
"""Endings of what prediction writes beside a mask; those files are no masks."""


class EvaluationError(ValueError):
    """Predictions and references that cannot be paired; the message names them."""


@dataclass(frozen=True)
class _Pair:
    name: str
    prediction: Volume | Path
    reference: Volume | Path


def evaluate(
    prediction: Source,
    reference: Source,
    *,
    classes: Mapping[int, str] | None = None,
    regions: Regions | None = None,
) -> Evaluation:
    """Score a prediction, or a folder of them, against its reference.

    Args:
        prediction: A label map, a file, or a folder whose files are matched by `io.stem`.
        reference: Likewise; a folder may hold more cases than were predicted.
        classes: Names of the class values to score; without any, every value found is scored.
        regions: Overlapping regions that are scored beside the classes. Masks whose channels
            overlap bring their own.

    Raises:
        EvaluationError: If a prediction has no reference, or there are none.
        GridMismatchError: If a prediction lies on another grid than its reference.
        VolumeError: If a file is damaged or is no label map.
    """
    pairs, unmatched = _pairs(prediction, reference)
    names = {int(value): name for value, name in (classes or {}).items()}
    cases, warnings = [], []
    for pair in pairs:
        scores, strange = _score(pair, names or None, regions or Regions({}))
        cases.append(scores)
        warnings += strange
    if not names:
        cases = _with_all_classes(cases)
    return Evaluation(tuple(cases), unmatched=tuple(unmatched), warnings=tuple(warnings))


def _score(
    pair: _Pair, classes: dict[int, str] | None, regions: Regions
) -> tuple[CaseScore, list[str]]:
    """Score one pair, and say in sentences which values the classes do not know."""
    prediction, own = _label_map(pair.prediction, f"prediction of {pair.name}")
    reference, told = _label_map(pair.reference, f"reference of {pair.name}")
    if own != told:
        raise EvaluationError(
            f"The prediction and the reference of {pair.name!r} are not masks of the same kind: "
            f"{_kind(own)} and {_kind(told)}."
        )
    regions = own or regions
    require_same_grid(
        reference.grid,
        prediction.grid,
        names=(f"reference of {pair.name!r}", "prediction"),
    )
    found = sorted({*values_in(prediction.data[0]), *values_in(reference.data[0])} - {0})
    named = classes if classes is not None else {**prediction.classes, **reference.classes}
    values = sorted(classes) if classes is not None else found
    counted = overlap(prediction.data[0], reference.data[0], values)
    scores = {
        value: ClassScore.of(named.get(value, f"class {value}"), one, reference.grid)
        for value, one in counted.items()
    }
    strange = [str(value) for value in found if value not in values]
    warnings = [f"{pair.name}: values {', '.join(strange)} belong to no class and are not scored."]
    overlapping = region_scores(prediction.data[0], reference.data[0], regions, reference.grid)
    return CaseScore(pair.name, scores, overlapping), warnings if strange else []


def _kind(regions: Regions) -> str:
    return f"regions {', '.join(regions.members)}" if regions else "a map of classes"


def _with_all_classes(cases: list[CaseScore]) -> list[CaseScore]:
    """Give every case a row for each class of any case; one that it has not has no score."""
    names = Evaluation(tuple(cases)).classes
    return [
        CaseScore(
            case.case,
            {
                value: case.classes.get(value, ClassScore(name, None, None, 0.0, 0.0))
                for value, name in names.items()
            },
            case.regions,
        )
        for case in cases
    ]


def _label_map(source: Volume | Path, name: str) -> tuple[Volume, Regions]:
    if isinstance(source, Volume):
        return as_classes(source, name)
    try:
        return as_classes(read_volume(source), source.name)
    except VolumeError as error:
        # A prediction and its reference mostly have the same file name.
        raise VolumeError(f"The {name} cannot be used: {error}") from error


def _pairs(prediction: Source, reference: Source) -> tuple[list[_Pair], list[str]]:
    """Return the pairs, and the names of references without a prediction."""
    if isinstance(prediction, Volume) or isinstance(reference, Volume):
        return [_pair_of_one(prediction, reference)], []
    prediction, reference = Path(prediction), Path(reference)
    if prediction.is_dir() and not reference.is_dir():
        raise EvaluationError(
            f"{prediction.name!r} is a folder of predictions, so the reference must be a folder "
            f"too; {reference.name!r} is not."
        )
    if not reference.is_dir():
        return [_Pair(stem(prediction), prediction, reference)], []
    if not prediction.is_dir():
        return list(_match({stem(prediction): prediction}, _by_stem(reference), reference)), []
    found, known = _by_stem(prediction), _by_stem(reference)
    if not found:
        raise EvaluationError(f"There is no volume in the folder {str(prediction)!r}.")
    return list(_match(found, known, reference)), sorted(set(known) - set(found))


def _pair_of_one(prediction: Source, reference: Source) -> _Pair:
    named = [one for one in (prediction, reference) if not isinstance(one, Volume)]
    name = stem(named[0]) if named else "case"
    first, second = (
        one if isinstance(one, Volume) else Path(one) for one in (prediction, reference)
    )
    return _Pair(name, first, second)


def _match(found: dict[str, Path], known: dict[str, Path], folder: Path) -> Iterator[_Pair]:
    missing = [name for name in found if name not in known]
    if missing:
        some = ", ".join(map(repr, missing[:5])) + (" and others" if len(missing) > 5 else "")
        raise EvaluationError(
            f"There is no reference for the prediction {some} in {str(folder)!r}; "
            "files are matched by name."
        )
    for name, path in sorted(found.items()):
        yield _Pair(name, path, known[name])


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the label maps of a folder by case name."""
    files = sorted(one for one in folder.iterdir() if _is_volume(one))
    found: dict[str, Path] = {}
    for path in files:
        name = stem(path)
        if name in found:
            raise EvaluationError(
                f"{found[name].name!r} and {path.name!r} in {str(folder)!r} have the same case "
                "name; keep one of them."
            )
        found[name] = path
    return {name: path for name, path in found.items() if not _is_beside_a_mask(name, found)}


def _is_volume(path: Path) -> bool:
    return known_suffix(path) is not None and path.is_file() and not path.name.startswith(".")


def _is_beside_a_mask(name: str, found: Mapping[str, Path]) -> bool:
    return any(
        name.endswith(ending) and name.removesuffix(ending) in found for ending in _BESIDE_A_MASK
    )
